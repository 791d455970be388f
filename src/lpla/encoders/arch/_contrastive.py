"""Contrastive losses that a GPU never waits for: NT-Xent (arXiv 2002.05709) and its decoupled form (arXiv 2110.06848).

The values, gradients and bits on one device of Lightly's NTXentLoss and DCLLoss, whose boolean masks make a GPU report
their count.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpla.encoders import ranks

CONTRASTIVE_VERSION = 1
"""Raise it when a change here changes the weights."""


def off_diagonal(square: Float[Tensor, "B B"]) -> Float[Tensor, "B B-1"]:
    """Each row's other entries, in their order: after the first, the diagonal is every (B + 1)-th entry in memory."""
    side = len(square)
    return square.flatten()[1:].view(side - 1, side + 1)[:, :-1].reshape(side, side - 1)


class NTXent(nn.Module):
    """Tell each embedding's other view from all others of the batch, that of all ranks, or from those of a `Queue`.

    It is the loss of SimCLR and, over a queue, of MoCo.
    """

    def __init__(self, temperature: float, queue: nn.Module | None = None) -> None:
        super().__init__()
        self.temperature = temperature
        self.memory_bank = queue

    def forward(self, out0: Float[Tensor, "B D"], out1: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        """The mean over both views; with a queue over `out0` alone, and `out1` then enters it."""
        z0, z1 = F.normalize(out0, dim=1), F.normalize(out1, dim=1)
        if self.memory_bank is None:
            z0, z1 = ranks.all_gather(z0), ranks.all_gather(z1)
            # In Lightly's order, in which the gradients are summed.
            like00, like01, like10, like11 = (self._like(a, b) for a in (z0, z1) for b in (z0, z1))
            like00, like11 = off_diagonal(like00), off_diagonal(like11)
            logits = torch.cat([torch.cat([like01, like00], dim=1), torch.cat([like10, like11], dim=1)])
            return F.cross_entropy(logits, torch.arange(len(z0), device=z0.device).repeat(2))
        _, earlier = self.memory_bank(z1, update=z0.requires_grad)
        own = torch.einsum("nc,nc->n", z0, z1)[:, None]
        logits = torch.cat([own, torch.einsum("nc,ck->nk", z0, earlier)], dim=1) / self.temperature
        return F.cross_entropy(logits, torch.zeros(len(z0), dtype=torch.long, device=z0.device))

    def _like(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("nc,mc->nm", a, b) / self.temperature


class DCL(nn.Module):
    """NT-Xent without the positive among its own negatives (Yeh et al., equation 6, unweighted).

    It pulls an embedding to its other view and pushes it from all views of the other images.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, out0: Float[Tensor, "B D"], out1: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        """The mean over images and over both views."""
        z0, z1 = (F.normalize(ranks.all_gather(out), dim=1) for out in (out0, out1))
        return (self._one_way(z0, z1) + self._one_way(z1, z0)) / 2

    def _one_way(self, z: Tensor, other: Tensor) -> Tensor:
        same, across = z @ z.T / self.temperature, z @ other.T / self.temperature
        negatives = torch.cat([off_diagonal(same), off_diagonal(across)], dim=1)
        return (negatives.logsumexp(dim=1) - across.diagonal()).mean()

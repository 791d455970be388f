"""NT-Xent, the contrastive loss of SimCLR and, over a queue, MoCo (Chen et al., arXiv 2002.05709), never waited for.

The values, gradients and bits of Lightly's NTXentLoss on one device, whose boolean masks make a GPU report their count.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpla.encoders import ranks
from lpla.encoders.arch._off_diagonal import off_diagonal

NT_XENT_VERSION = 1
"""Raise it when a change here changes the weights."""


def nonzero(temperature: float) -> float:
    """The temperature itself; raises ValueError for 0, as Lightly does, since similarities are divided by it."""
    if abs(temperature) < 1e-8:
        raise ValueError(f"temperature must not be 0, got {temperature}")
    return temperature


class NTXent(nn.Module):
    """Tell each embedding's other view from all others of the batch, that of all ranks, or from those of a `Queue`."""

    def __init__(self, temperature: float, queue: nn.Module | None = None) -> None:
        super().__init__()
        self.temperature = nonzero(temperature)
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

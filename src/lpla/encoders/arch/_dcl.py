"""Decoupled contrastive learning: NT-Xent without the positive among its own negatives (Yeh et al., arXiv 2110.06848).

The values and gradients of Lightly's DCLLoss, whose boolean masks make a GPU report their count.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpla.encoders.arch._nt_xent import nonzero
from lpla.encoders.arch._off_diagonal import off_diagonal
from lpla.encoders.ranks import all_gather

DCL_VERSION = 1
"""Raise it when a change here changes the weights."""


class DCL(nn.Module):
    """Pull an embedding to its other view; push it from all views of the other images (equation 6, unweighted)."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = nonzero(temperature)

    def forward(self, out0: Float[Tensor, "B D"], out1: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
        """The mean over images and over both views."""
        z0, z1 = (F.normalize(all_gather(out), dim=1) for out in (out0, out1))
        return (self._one_way(z0, z1) + self._one_way(z1, z0)) / 2

    def _one_way(self, z: Tensor, other: Tensor) -> Tensor:
        same, across = z @ z.T / self.temperature, z @ other.T / self.temperature
        negatives = torch.cat([off_diagonal(same), off_diagonal(across)], dim=1)
        return (negatives.logsumexp(dim=1) - across.diagonal()).mean()

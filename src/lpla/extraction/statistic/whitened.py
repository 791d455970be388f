"""How long and how alike an image's views are in whitened coordinates: log-norms and the log angle, for several ridges.

w = (variance + r x mean variance)^(-1/2) V'(e - mean) with the axes V of `principal_axes`; one decomposition serves
every ridge r. The logarithm makes the difficulty of the views additive, so that comparing an image with itself under
other encoders removes it. The statistics and the ridges are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.inputs import InputError
from lpla.extraction.statistic.log_norm import LogNorm, sum_in_fixed_order, valid_p
from lpla.extraction.statistic.principal_axes import Axes, OnAxes, usable

EPS = 1e-6
"""Added to 1 - cosine before the logarithm: equal views have an angle as well."""
PARTS = ("norm", "norm of mean", "log angle")
RIDGES = (3.0, 0.3, 0.03)
IMAGES, VIEWS, WIDTH = 8, 16, 8
"""A Gram matrix is computed for so many images at once, their views and their width padded to multiples of these."""


@dataclass(frozen=True)
class Whitened(OnAxes):
    """For each ridge and each q: log-norm of view q, log-norm of the mean of views 0 to q, log angle among these views.

    Log-norms are power means of order `p`, as in `LogNorm`; the log angle is the mean of log(1 - cosine + 1e-6) over
    pairs. A view that is zero or not finite is left out of every mean; what is then left without a value is nan.
    """

    name: ClassVar[str] = "whitened"
    p: float = 2.0
    ridges: Sequence[float] = RIDGES

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", valid_p(self.p))
        object.__setattr__(self, "ridges", tuple(map(float, self.ridges)))
        if not self.ridges or not all(0 < r < math.inf for r in self.ridges):
            raise InputError(f"ridges must hold at least one number > 0, got {list(self.ridges)}")

    def __call__(self, embeddings: Float[Tensor, "B Q D"], axes: Axes | None = None) -> Float32[Tensor, "B Q R 3"]:
        """All of it, computed in double precision; the bits of an image depend on it and the axes alone."""
        axes = axes or Axes.of(embeddings[:, 0].cpu().numpy()).to(embeddings.device)
        there, along = usable(embeddings), axes.coordinates(embeddings)
        found = []
        for ridge in self.ridges:
            white = along * axes.scale(ridge)
            products = gram(white)
            norms = self._norms(white, products, there)
            found.append(torch.stack([*norms, _log_angle(products, there)], dim=2))
        return torch.stack(found, dim=2).float()

    def prefix(self, values: Float[np.ndarray, "N Q R 3"], queries: int) -> Float[np.ndarray, "N q R 3"]:
        """Return the first views' values: no value depends on a later view."""
        return values[:, :queries]

    def _norms(
        self, white: Float[Tensor, "B Q D"], products: Float[Tensor, "B Q Q"], there: Tensor
    ) -> tuple[Float[Tensor, "B Q"], Float[Tensor, "B Q"]]:
        """Log-norms of each view and of the mean of the views so far."""
        width, count = white.shape[2], there.cumsum(dim=1)
        if self.p == 2:
            square, squares_of_sum = products.diagonal(dim1=1, dim2=2), _growing_sums(products)
            own = 0.5 * (square / width).log()
            mean = 0.5 * (squares_of_sum / (count**2 * width)).log()
        else:
            of = LogNorm((self.p,))
            own = of(white)[..., 0]
            so_far, sums = torch.zeros_like(white[:, 0]), []
            for view in white.unbind(dim=1):
                so_far = so_far + view
                sums.append(so_far)
            mean = of(torch.stack(sums, dim=1))[..., 0] - count.log()
        return torch.where(there, own, torch.nan), torch.where(count > 0, mean, torch.nan)


@dataclass(frozen=True)
class Direction(OnAxes):
    """The mean whitened direction of an image's views, a unit vector: which images an encoder finds alike.

    Kept for the first 1, 2, 4, ... views, so that a smaller budget has one too; of the backbone, whatever layer an
    attack uses. An image without any usable view has the zero vector.
    """

    name: ClassVar[str] = "direction"
    at: ClassVar[str | None] = "backbone"
    layers: ClassVar[tuple[str, ...]] = ("backbone",)
    ridge: float = 0.3

    def __call__(self, embeddings: Float[Tensor, "B Q D"], axes: Axes | None = None) -> Float32[Tensor, "B T D"]:
        """The directions for every power of two up to Q."""
        axes = axes or Axes.of(embeddings[:, 0].cpu().numpy()).to(embeddings.device)
        white = axes.coordinates(embeddings) * axes.scale(self.ridge)
        total, found = torch.zeros_like(white[:, 0]), []
        for q, view in enumerate(_unit(white).unbind(dim=1), start=1):
            total = total + view
            if q & (q - 1) == 0:
                found.append(_unit(total))
        return torch.stack(found, dim=1).float()

    def prefix(self, values: Float[np.ndarray, "N T D"], queries: int) -> Float[np.ndarray, "N D"]:
        """Return the direction for the largest power of two within the budget."""
        return values[:, queries.bit_length() - 1]


def gram(x: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q Q"]:
    """Return products of all pairs of views of every image, in matrix products of one shape and alignment."""
    images, views, width = x.shape
    padded = F.pad(x, (0, -width % WIDTH, 0, -views % VIEWS, 0, -images % IMAGES)).contiguous()
    products = [torch.bmm(block, block.transpose(1, 2)) for block in padded.split(IMAGES)]
    return torch.cat(products)[:images, :views, :views]


def _growing_sums(products: Float[Tensor, "B Q Q"]) -> Float[Tensor, "B Q"]:
    """Sums of the leading q x q blocks, which for a Gram matrix are the squares of the first q vectors' sum."""
    total, found = torch.zeros_like(products[:, 0, 0]), []
    for q in range(products.shape[1]):
        for earlier in range(q):
            total = total + 2 * products[:, earlier, q]
        total = total + products[:, q, q]
        found.append(total)
    return torch.stack(found, dim=1).clamp(min=0)


def _log_angle(products: Float[Tensor, "B Q Q"], there: Tensor) -> Float[Tensor, "B Q"]:
    """Mean over the usable pairs among the first views; nan where there is none."""
    length = products.diagonal(dim1=1, dim2=2).sqrt().clamp(min=1e-30)
    cosine = products / (length.unsqueeze(1) * length.unsqueeze(2))
    pairs = there.unsqueeze(1) & there.unsqueeze(2)
    angle = torch.where(pairs, ((1 - cosine).clamp(min=0) + EPS).log(), 0.0)
    total, count, found = torch.zeros_like(angle[:, 0, 0]), torch.zeros_like(angle[:, 0, 0]), []
    for q in range(angle.shape[1]):
        for earlier in range(q):
            total, count = total + angle[:, earlier, q], count + pairs[:, earlier, q]
        found.append(torch.where(count > 0, total / count, torch.nan))
    return torch.stack(found, dim=1)


def _unit(x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    return x / sum_in_fixed_order(x * x).sqrt().clamp(min=1e-30).unsqueeze(-1)

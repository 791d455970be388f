"""The principal axes of an encoder's answers to the clean images, in which other statistics see them whitened.

Members grow along directions of little variance, which a plain norm hardly sees (measured: the log-norm's AUC goes from
.75 to .85). The axes come of all images that are extracted, whoever was trained on them: no label enters.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.evidence import Query, Statistic
from lpla.extraction.query import FORWARD

ROWS = 4096
"""Vectors whose moments are added up at once: a fixed number, so that the sums have a fixed order."""


@dataclass(frozen=True)
class Axes:
    """Mean, variances and directions (columns) of an encoder's vectors at one layer, in double precision."""

    mean: Float[Tensor, " D"]
    variance: Float[Tensor, " D"]
    directions: Float[Tensor, "D D"]

    @classmethod
    def of(cls, clean: Float[np.ndarray, "N D"]) -> Self:
        """Learn them from one vector per image, which may be a memory map; vectors that are unusable take no part."""
        blocks = [clean[first : first + ROWS] for first in range(0, len(clean), ROWS)]
        count, mean = 0, np.zeros(clean.shape[1])
        for rows in map(_usable_rows, blocks):
            count, mean = count + len(rows), mean + rows.sum(axis=0)
        mean /= max(count, 1)
        scatter = np.zeros((len(mean), len(mean)))
        for rows in map(_usable_rows, blocks):
            scatter += (rows - mean).T @ (rows - mean)
        variance, directions = np.linalg.eigh(scatter / max(count - 1, 1))
        return cls(*map(torch.from_numpy, (mean, np.maximum(variance, 0.0), directions)))

    @classmethod
    def from_array(cls, array: Float[np.ndarray, "D2 D"]) -> Self:
        """Read axes from what `array` made of them."""
        rows = torch.from_numpy(np.array(array, dtype=np.float64))
        return cls(rows[0], rows[1], rows[2:])

    @property
    def array(self) -> Float[np.ndarray, "D2 D"]:
        """The mean, the variances and the matrix of directions, one below the other."""
        return torch.cat([self.mean[None], self.variance[None], self.directions]).cpu().numpy()

    def to(self, device: torch.device) -> Axes:
        """Move the axes to a device."""
        return Axes(self.mean.to(device), self.variance.to(device), self.directions.to(device))

    def scale(self, ridge: float) -> Float[Tensor, " D"]:
        """What each coordinate is multiplied by: (variance + ridge x mean variance)^(-1/2); 0 if nothing varies."""
        spread = self.variance + ridge * self.variance.mean()
        return torch.where(spread > 0, spread.rsqrt(), 0.0)

    def coordinates(self, embeddings: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q D"]:
        """Return the views' coordinates along the axes; 0 for a view that is unusable.

        A matrix product rounds by its number of rows, so that it is always given the same one; the last rows are zeros.
        """
        wide = embeddings.to(torch.float64)
        centred = torch.where(usable(wide).unsqueeze(-1), wide - self.mean, 0.0).flatten(0, 1)
        size = FORWARD[centred.device.type]
        padded = F.pad(centred, (0, 0, 0, -len(centred) % size))
        products = [block @ self.directions for block in padded.split(size)]
        return torch.cat(products)[: len(centred)].view_as(wide)


@dataclass(frozen=True)
class PrincipalAxes(Statistic):
    """The clean image's vector while it is extracted; what is kept are the `Axes` of all, as an array."""

    name: ClassVar[str] = "principal_axes"

    def query(self, full_query: Query, side: int) -> Query:
        """Ask for one view, the clean image."""
        return replace(full_query, queries=1)

    def __call__(self, embeddings: Float[Tensor, "B Q D"]) -> Float[Tensor, "B D"]:
        """View 0 of each image."""
        return embeddings[:, 0]

    def prefix(self, values: Float[np.ndarray, "D2 D"], queries: int) -> Float[np.ndarray, "D2 D"]:
        """Return all values, which are the same for every budget."""
        return values


class OnAxes(Statistic):
    """A statistic that is also given the layer's axes, for which an extraction makes a first pass over view 0."""

    @abstractmethod
    def __call__(self, embeddings: Float[Tensor, "B Q D"], axes: Axes | None = None) -> Float[Tensor, "B ..."]:
        """The statistic of Q views of B images on these axes; without any, on those of the B images themselves."""


def usable(embeddings: Float[Tensor, "*B D"]) -> Tensor:
    """Return whether every embedding is finite and not zero."""
    return embeddings.isfinite().all(dim=-1) & (embeddings != 0).any(dim=-1)


def _usable_rows(rows: Float[np.ndarray, "M D"]) -> Float[np.ndarray, "m D"]:
    wide = np.asarray(rows, dtype=np.float64)
    return wide[np.isfinite(wide).all(axis=1) & (wide != 0).any(axis=1)]

"""What shadows say of an image in numbers: its values where it was outside (row 0) and inside (row 1), summarised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int

from lpla.contracts.inputs import InputError


@dataclass(frozen=True)
class Cells:
    """Count, mean and sum of squares about the mean of every cell (side x image); mean and squares of none are 0."""

    n: Int[np.ndarray, "2 N"]
    mean: Float[np.ndarray, "2 N"]
    squares: Float[np.ndarray, "2 N"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Summarise the value of image i under shadow k, which was trained on it or not; values of nan are left out."""
        known = np.isfinite(x)
        n, mean, squares = [], [], []
        for side in (~inside & known, inside & known):
            n.append(side.sum(axis=0))
            mean.append(np.where(side, x, 0.0).sum(axis=0) / np.maximum(n[-1], 1))
            squares.append(np.where(side, (x - mean[-1]) ** 2, 0.0).sum(axis=0))
        return cls(np.stack(n), np.stack(mean), np.stack(squares))

    @staticmethod
    def fewest(inside: Bool[np.ndarray, "K N"]) -> int:
        """Return the smallest cell that the layout makes, whatever is known of it."""
        times = inside.sum(axis=0)
        return int(min(times.min(), (len(inside) - times).min()))

    @cached_property
    def dof(self) -> Int[np.ndarray, "2 N"]:
        """Degrees of freedom of `squares`."""
        return np.maximum(self.n - 1, 0)

    @cached_property
    def paired(self) -> Bool[np.ndarray, " N"]:
        """Images that one shadow at least was trained on and another was not."""
        return np.all(self.n > 0, axis=0)

    def gap(self) -> float:
        """D, how far members lie above non-members: mean of xin_i - xout_i weighted by h = 1/(1/n_in + 1/n_out).

        Where no image is on both sides (a single shadow), the difference of the means over different images.
        """
        if self.paired.any():
            n, mean = self.n[:, self.paired], self.mean[:, self.paired]
            return float(np.average(mean[1] - mean[0], weights=1 / (1 / n[0] + 1 / n[1])))
        held = self.n > 0
        if not held.any(axis=1).all():
            counts = self.n.sum(axis=1)
            raise InputError(f"the shadows must have members and non-members, got {counts[1]} and {counts[0]}")
        outside, inside = (self.mean[side][held[side]].mean() for side in (0, 1))
        return float(inside - outside)

"""Several scalars of an image -> one, by the Gaussian likelihood ratio of "in" and "out".

With one covariance for both sides the ratio is linear: the projection on Sigma^-1 (mu_in - mu_out), Sigma by Ledoit and
Wolf (2004), whose shrinkage keeps nearly collinear scalars (log-norms of neighbouring p) from fighting each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int

from lpla.contracts.inputs import InputError

TIE = 1e-9
"""Residual spread, as a part of the size of the scalar, below which it is constant, up to rounding, and left out."""
COLLINEAR = 1e-10
"""Eigenvalues below this part of the largest are rounding noise of scalars that repeat each other."""
BLOCK = 256
"""Images whose residuals are computed at once: few, so that they stay in the cache."""


class LinearRatio:
    """Weighs several scalars into one likelihood ratio.

    Fitted: `direction_`, one weight per scalar; 0 for a scalar that does not vary.

    `per_sample=False`: gap and covariance of all images pooled, for a calibration that pools them. `per_sample=True`:
    the gap within images and the covariance within cells (image x side), which is all the noise that a calibration
    sees which compares an image with itself. The covariance is taken of scalars of unit variance, so that no scalar's
    unit matters.
    """

    def __init__(self, per_sample: bool) -> None:
        self.per_sample = per_sample

    def fit(self, x: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the standardised scalars of image i under shadow k, which was trained on it or not.

        Where one of an image's scalars is nan under a shadow, that shadow says nothing of the image.
        """
        gap, residual, size = (_within_images if self.per_sample else _pooled)(x, inside)
        spread = np.sqrt(residual.products.diagonal() / residual.count)
        varies = spread > TIE * np.sqrt(size / inside.size)
        self.direction_ = np.zeros(x.shape[2])
        if varies.any():
            inverse = np.linalg.pinv(residual.shrunk(varies, spread[varies]), rcond=COLLINEAR, hermitian=True)
            self.direction_[varies] = inverse @ (gap[varies] / spread[varies]) / spread[varies]
        return self

    def project(self, x: Float[np.ndarray, "*N F"]) -> Float[np.ndarray, "*N"]:
        """Return the likelihood ratio up to a constant, higher = member."""
        return x @ self.direction_


@dataclass(frozen=True)
class Residuals:
    """How many residuals there are, and the sums over them of products of two scalars, and of two scalars' squares."""

    count: int
    products: Float[np.ndarray, "F F"]
    of_squares: Float[np.ndarray, "F F"]

    @classmethod
    def of(cls, residual: Float[np.ndarray, "M F"]) -> Self:
        """Sum over these."""
        squares = residual * residual
        return cls(len(residual), residual.T @ residual, squares.T @ squares)

    def __add__(self, other: Residuals) -> Residuals:
        """Sum over both."""
        sums = (self.products + other.products, self.of_squares + other.of_squares)
        return Residuals(self.count + other.count, *sums)

    def shrunk(self, chosen: Bool[np.ndarray, " F"], spread: Float[np.ndarray, " f"]) -> Float[np.ndarray, "f f"]:
        """The covariance about 0 of the chosen scalars over their spreads, by Ledoit and Wolf (2004, Lemma 3.3)."""
        block, unit = np.ix_(chosen, chosen), np.outer(spread, spread)
        covariance = self.products[block] / self.count / unit
        variance, squares = covariance.trace() / len(spread), (covariance**2).sum()
        noise = ((self.of_squares[block] / unit**2).sum() / self.count - squares) / self.count
        apart = squares - len(spread) * variance**2
        part = min(noise, apart) / apart if apart > 0 else 0.0
        return (1 - part) * covariance + part * variance * np.eye(len(spread))


def _pooled(
    x: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]
) -> tuple[Float[np.ndarray, " F"], Residuals, Float[np.ndarray, " F"]]:
    """Gap, residuals and sum of squares of the values."""
    known = np.isfinite(x).all(axis=2)
    sides = x[inside & known], x[~inside & known]
    if min(map(len, sides)) < 2:
        counts = " and ".join(str(len(side)) for side in sides)
        raise InputError(
            f"several scalars need at least 2 members and 2 non-members in the shadows to become one, got {counts}"
        )
    gap = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    residual = np.concatenate([side - side.mean(axis=0) for side in sides])
    return gap, Residuals.of(residual), np.where(np.isfinite(x), x**2, 0.0).sum(axis=(0, 1))


def _within_images(
    x: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]
) -> tuple[Float[np.ndarray, " F"], Residuals, Float[np.ndarray, " F"]]:
    """Gap weighted by h = 1/(1/n_in + 1/n_out), residuals scaled up by the degree of freedom each cell has lost, and
    the sum of squares of the values."""
    scalars = x.shape[2]
    gap, size, weight = np.zeros(scalars), np.zeros(scalars), 0.0
    residual = Residuals(0, np.zeros((scalars, scalars)), np.zeros((scalars, scalars)))
    for first in range(0, x.shape[1], BLOCK):
        rows = slice(first, first + BLOCK)
        values, known = _zero_where_unknown(x[:, rows])
        size += np.einsum("knf,knf->f", values, values)
        cells = _Cells.of(values, inside[:, rows], known)
        h = cells.weights()
        weight, gap = weight + h.sum(), gap + h @ (cells.mean[1] - cells.mean[0])
        residual += Residuals.of(cells.residual(values, inside[:, rows], known))
    if not residual.count or not weight:
        raise InputError(
            "several scalars become one per image where some image has two shadows on the same side and some image one "
            f"on each (at least 4 shadows in the balanced layout), got {len(x)} shadows"
        )
    return gap / weight, residual, size


def _zero_where_unknown(
    x: Float[np.ndarray, "K n F"],
) -> tuple[Float[np.ndarray, "K n F"], Bool[np.ndarray, "K n"]]:
    finite = np.isfinite(x)
    known = np.asarray(finite.all(axis=2)) if not finite.all() else np.ones(x.shape[:2], dtype=bool)
    return (x, known) if known.all() else (np.where(finite, x, 0.0), known)


@dataclass(frozen=True)
class _Cells:
    """Count and mean of every cell (side x image, 1 = inside); the mean of none is 0."""

    n: Int[np.ndarray, "2 n"]
    mean: Float[np.ndarray, "2 n F"]

    @classmethod
    def of(cls, x: Float[np.ndarray, "K n F"], inside: Bool[np.ndarray, "K n"], known: Bool[np.ndarray, "K n"]) -> Self:
        sides = [side & known for side in (~inside, inside)]
        n = np.stack([side.sum(axis=0) for side in sides])
        total = np.stack([np.einsum("kn,knf->nf", side.astype(x.dtype), x) for side in sides])
        return cls(n, total / np.maximum(n, 1)[..., None])

    def weights(self) -> Float[np.ndarray, " n"]:
        """h, 0 where a side is empty."""
        return self.n[0] * self.n[1] / np.maximum(self.n.sum(axis=0), 1)

    def residual(
        self, x: Float[np.ndarray, "K n F"], inside: Bool[np.ndarray, "K n"], known: Bool[np.ndarray, "K n"]
    ) -> Float[np.ndarray, "M F"]:
        """Compute deviations of the known values in cells of two or more."""
        side, image = inside.astype(int), np.arange(x.shape[1])
        n = self.n[side, image]
        found = x - self.mean[side, image]
        found *= np.sqrt(n / np.maximum(n - 1, 1))[..., None]
        kept = known & (n > 1)
        return found.reshape(-1, x.shape[2]) if kept.all() else found[kept]

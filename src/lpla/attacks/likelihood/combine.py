"""Several scalars of an image -> one, by the Gaussian likelihood ratio of "in" and "out".

With one covariance for both sides the ratio is linear: the projection on Sigma^-1 (mu_in - mu_out), Sigma by Ledoit and
Wolf (2004), whose shrinkage keeps nearly collinear scalars (log-norms of neighbouring p) from fighting each other.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from sklearn.covariance import ledoit_wolf

from lpla.contracts.inputs import InputError

TIE = 1e-9
"""Residual spread, as a part of the size of the scalar, below which it is constant, up to rounding, and left out."""
COLLINEAR = 1e-10
"""Eigenvalues below this part of the largest are rounding noise of scalars that repeat each other."""


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
        gap, residual = (_within_images if self.per_sample else _pooled)(x, inside)
        spread = np.sqrt((residual**2).mean(axis=0))
        varies = spread > TIE * np.sqrt(np.where(np.isfinite(x), x**2, 0.0).mean(axis=(0, 1)))
        self.direction_ = np.zeros(x.shape[2])
        if varies.any():
            covariance, _ = ledoit_wolf(residual[:, varies] / spread[varies], assume_centered=True)
            inverse = np.linalg.pinv(covariance, rcond=COLLINEAR, hermitian=True)
            self.direction_[varies] = inverse @ (gap[varies] / spread[varies]) / spread[varies]
        return self

    def project(self, x: Float[np.ndarray, "*N F"]) -> Float[np.ndarray, "*N"]:
        """Return the likelihood ratio up to a constant, higher = member."""
        return x @ self.direction_


def _pooled(
    x: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]
) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, "M F"]]:
    known = _known(x)
    sides = x[inside & known], x[~inside & known]
    if min(map(len, sides)) < 2:
        counts = " and ".join(str(len(side)) for side in sides)
        raise InputError(
            f"several scalars need at least 2 members and 2 non-members in the shadows to become one, got {counts}"
        )
    gap = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    return gap, np.concatenate([side - side.mean(axis=0) for side in sides])


def _known(x: Float[np.ndarray, "K N F"]) -> Bool[np.ndarray, "K N"]:
    return np.asarray(np.isfinite(x).all(axis=2))


def _within_images(
    x: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]
) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, "M F"]]:
    """Gap weighted by h = 1/(1/n_in + 1/n_out), and residuals scaled up by the degree of freedom each cell has lost."""
    means, counts, residuals = [], [], []
    known = _known(x)
    for side in (inside & known, ~inside & known):
        n = side.sum(axis=0)
        mean = np.where(side[..., None], x, 0.0).sum(axis=0) / np.maximum(n, 1)[:, None]
        lost = np.sqrt(n / np.maximum(n - 1, 1))[:, None]
        residuals.append(((x - mean) * lost)[side & (n > 1)])
        means.append(mean)
        counts.append(n)
    residual, h = np.concatenate(residuals), np.zeros(inside.shape[1])
    paired = np.minimum(*counts) > 0
    if not len(residual) or not paired.any():
        raise InputError(
            "several scalars become one per image where some image has two shadows on the same side and some image one "
            f"on each (at least 4 shadows in the balanced layout), got {len(x)} shadows"
        )
    h[paired] = 1 / (1 / counts[0][paired] + 1 / counts[1][paired])
    return np.average(means[0] - means[1], axis=0, weights=h), residual

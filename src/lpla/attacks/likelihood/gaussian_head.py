"""A value's normal distribution given features: quantile regression with a Gaussian head (arXiv 2307.03694)."""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import RidgeCV

PENALTIES = np.logspace(-4, 3, 8)
"""Ridge penalties to choose from, per value: from next to none to next to no dependence on the features."""
SMALLEST = 1e-6
"""Part of the mean squared residual to which smaller ones are raised before the logarithm."""


class GaussianHead:
    """Predicts a value and its spread from an image's features.

    y | f ~ N(mu(f), sigma(f)^2), mu a ridge on f and log sigma^2 a ridge on the log squared residuals.

    Both penalties are chosen by leaving one image out. Fitted: `mean_`, `log_spread_` (ridges), `scale_`.
    """

    def fit(self, f: Float[np.ndarray, "N F"], y: Float[np.ndarray, "K N"], known: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the known values y[k, i] of images with features f[i].

        Args:
            f: Standardised features of each image.
            y: Values of each image under each encoder.
            known: Which of these values are known; the others are not used.

        Returns:
            The model itself.
        """
        self.mean_ = _ridge(f, y, known)
        squared = (y - self.mean_.predict(f)) ** 2
        floor = SMALLEST * squared[known].mean() or 1.0
        self.log_spread_ = _ridge(f, np.log(np.maximum(squared, floor)), known)
        ratio = squared / np.exp(self.log_spread_.predict(f))
        # The mean of a logarithm is not the logarithm of the mean: set the level where the residuals have variance 1.
        self.scale_ = float(np.sqrt(ratio[known].mean())) or 1.0
        return self

    def standardise(self, f: Float[np.ndarray, "N F"], y: Float[np.ndarray, "*K N"]) -> Float[np.ndarray, "*K N"]:
        """(y - mu(f)) / sigma(f)."""
        return (y - self.mean_.predict(f)) / (self.scale_ * np.exp(self.log_spread_.predict(f) / 2))


def _ridge(f: Float[np.ndarray, "N F"], y: Float[np.ndarray, "K N"], known: Bool[np.ndarray, "K N"]) -> RidgeCV:
    """The ridge of all known values: that of their mean per image, weighted by their number."""
    count = known.sum(axis=0)
    held = count > 0
    mean = np.where(known, y, 0.0).sum(axis=0)[held] / count[held]
    return RidgeCV(count.sum() * PENALTIES).fit(f[held], mean, sample_weight=count[held])

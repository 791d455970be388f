"""d2: how far an image lies from what its features predict, learnt on known non-members (after arXiv 2307.03694).

Ridge regression with a Gaussian head. The known non-members are seen by models that did not learn from them: their
out-of-fold residuals choose the penalty, and give the spread and the threshold.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Float

from lpla.attacks.likelihood.nonmembers import NonMembers, cut_above, in_tail, known_means
from lpla.attacks.likelihood.standardise import mean_of_views

FOLDS = 5
PENALTIES = np.append(np.inf, np.logspace(3, -3, 13))
"""Per known image, for columns of variance 1; with the first of them the features are not used at all."""


class Conditional(NonMembers):
    """score = (m_i - prediction) / spread, in the attacker's tail. Fitted: `penalty_`, `spread_`, `threshold_`."""

    def fit(self, known_u: Float[np.ndarray, "n Q"], known_features: Float[np.ndarray, "n F"] | None = None, /) -> Self:
        """Learn to predict the means from the features."""
        y, x = known_means(known_u), _given(known_features, len(known_u))
        self.centre_ = x.mean(axis=0)
        deviation = x.std(axis=0)
        self.scale_ = np.where(deviation > 0, deviation, 1.0)
        x = self._scaled(x)
        residual = np.empty((len(y), len(PENALTIES)))
        for fold in range(FOLDS):
            held = np.arange(len(y)) % FOLDS == fold
            residual[held] = y[held, None] - _predict(x[held], *_ridge(x[~held], y[~held]))
        best = int(np.argmin((residual**2).mean(axis=0)))
        self.penalty_ = float(PENALTIES[best])
        self.spread_ = float(np.sqrt((residual[:, best] ** 2).mean()))
        self.intercept_, self.x_centre_, slopes = _ridge(x, y)
        self.slope_ = slopes[:, best]
        self.threshold_ = cut_above(self._standardised(residual[:, best]))
        return self

    def score(
        self, u: Float[np.ndarray, "N Q"], features: Float[np.ndarray, "N F"] | None = None, /
    ) -> Float[np.ndarray, " N"]:
        """The standardised residual of every image, by the model of all known non-members."""
        x = self._scaled(_given(features, len(u)))
        return self._standardised(mean_of_views(u) - _predict(x, self.intercept_, self.x_centre_, self.slope_))

    def warnings(self) -> list[str]:
        """Where the features predicted nothing."""
        useless = "the features predict nothing of the known non-members' norms: none is conditioned on"
        return [useless] if np.isinf(self.penalty_) else []

    def _scaled(self, x: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N F"]:
        return (x - self.centre_) / self.scale_

    def _standardised(self, residual: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        return in_tail(residual / (self.spread_ or 1.0), self.tail)


def _given(features: Float[np.ndarray, "n F"] | None, images: int) -> Float[np.ndarray, "n F"]:
    if features is None or len(features) != images:
        got = "none" if features is None else f"{len(features)} rows"
        raise ValueError(f"attack.no_shadow=d2 needs the features of {images} images, got {got}")
    return features.astype(np.float64)


def _ridge(
    x: Float[np.ndarray, "n F"], y: Float[np.ndarray, " n"]
) -> tuple[float, Float[np.ndarray, " F"], Float[np.ndarray, "F L"]]:
    """Mean of y, means of x, and the slopes under each of `PENALTIES`, from one eigendecomposition."""
    centre = x.mean(axis=0)
    values, vectors = np.linalg.eigh((x - centre).T @ (x - centre))
    along = vectors.T @ ((x - centre).T @ (y - y.mean()))
    slopes = along[:, None] / (np.maximum(values, 0.0)[:, None] + len(y) * PENALTIES)
    return float(y.mean()), centre, vectors @ slopes


def _predict(
    x: Float[np.ndarray, "n F"], intercept: float, centre: Float[np.ndarray, " F"], slope: Float[np.ndarray, "F *L"]
) -> Float[np.ndarray, "n *L"]:
    return intercept + (x - centre) @ slope

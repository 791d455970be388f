"""d2: how far an image lies from what its features predict, learnt on known non-members (after arXiv 2307.03694).

Ridge regression with a Gaussian head. Every known non-member is seen by a model that did not learn from it: these
residuals choose the penalty, and give the spread and the threshold.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Float
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lpla.attacks.likelihood.nonmembers import NonMembers, cut_above, in_tail, known_means
from lpla.attacks.likelihood.standardise import mean_of_views

PENALTIES = np.append(1e9, np.logspace(3, -3, 13))
"""Per known image, for columns of variance 1; with the first of them the features are as good as not used."""


class Conditional(NonMembers):
    """Predicts an image's mean from its features, and scores the residual.

    score = (m_i - prediction) / spread, in the attacker's tail. Fitted: `model_`, `spread_`, `threshold_`.
    """

    def fit(self, known_u: Float[np.ndarray, "n Q"], known_features: Float[np.ndarray, "n F"] | None = None, /) -> Self:
        """Learn to predict the means from the features; the penalty is chosen by leaving one image out."""
        y, x = known_means(known_u), _given(known_features, len(known_u))
        # With a score by name, what is kept are the predictions of the images left out.
        self._ridge = RidgeCV(len(y) * PENALTIES, scoring="neg_mean_squared_error", store_cv_results=True)
        self.model_ = make_pipeline(StandardScaler(), self._ridge).fit(x, y)
        best = np.flatnonzero(self._ridge.alphas == self._ridge.alpha_)[0]
        residual = y - self._ridge.cv_results_[:, best]
        self.spread_ = float(np.sqrt((residual**2).mean()))
        self.threshold_ = cut_above(self._standardised(residual))
        return self

    def score(
        self, u: Float[np.ndarray, "N Q"], features: Float[np.ndarray, "N F"] | None = None, /
    ) -> Float[np.ndarray, " N"]:
        """Return the standardised residual of every image, by the model of all known non-members."""
        return self._standardised(mean_of_views(u) - self.model_.predict(_given(features, len(u))))

    def warnings(self) -> list[str]:
        """Say where the features predicted nothing."""
        useless = "the features predict nothing of the known non-members' norms: none is conditioned on"
        return [useless] if self._ridge.alpha_ == self._ridge.alphas[0] else []

    def _standardised(self, residual: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        return in_tail(residual / (self.spread_ or 1.0), self.tail)


def _given(features: Float[np.ndarray, "n F"] | None, images: int) -> Float[np.ndarray, "n F"]:
    if features is None or len(features) != images:
        got = "none" if features is None else f"{len(features)} rows"
        raise ValueError(f"attack.no_shadow=d2 needs the features of {images} images, got {got}")
    return features.astype(np.float64)

"""Which scalars LpLA makes of the log-norms for several p."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack._log_norms import mean_of_known
from lpla.attacks.likelihood.calibrated import Calibrated
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.attacks.likelihood.standardise import standardise
from lpla.contracts.evidence import Labelled

AllNorms = Float[np.ndarray, "N Q P"]


def best_column(
    make_calibrated: Callable[[], Calibrated], shadows: Sequence[Labelled], log_norms: Sequence[AllNorms]
) -> int:
    """The p that tells the shadows' members best: the largest AUC of the scores of shadows left out in turn.

    Where they are too few for that, of the pooled likelihood on the shadows it was fitted to. Of equals the first.
    """
    aucs = []
    for column in range(log_norms[0].shape[2]):
        raw = [one[..., column] for one in log_norms]
        scores = make_calibrated().fit(shadows, raw).shadow_scores_
        if scores is None:
            pooled = Calibrated(likelihood="class_conditional", tie_variance=True).fit(shadows, raw)
            scores = pooled.shadow_scores_
        assert scores is not None
        aucs.append(roc_auc_score(scores.member, scores.score))
    return int(np.argmax(aucs))


class CombinedNorms:
    """All log-norms of a view in one scalar, by `LinearRatio`; `contrast`: their differences between neighbouring p.

    A difference is free of the embedding's scale, the only part alive when an encoder returns vectors of unit length.
    The direction is learnt from the images' means over their views and applied to every view, which leaves views to the
    calibration as those of one norm are. Shadows that are left out in turn later took part in it: these are a few
    numbers, learnt from all images.
    """

    def __init__(self, contrast: bool) -> None:
        self.contrast = contrast

    def fit(self, log_norms: Sequence[AllNorms], member: Sequence[Bool[np.ndarray, " N"]], per_sample: bool) -> Self:
        """Learn the direction; per sample, row i of every shadow must be the same image."""
        standardised = [self._standardised(one) for one in log_norms]
        means = [mean_of_known(one, np.asarray(np.isfinite(one).all(axis=2, keepdims=True))) for one in standardised]
        if per_sample:
            x, inside = np.stack(means), np.stack(member)
        else:
            x, inside = np.concatenate(means)[None], np.concatenate(member)[None]
        self.ratio_ = LinearRatio(per_sample).fit(x, inside)
        return self

    def scalars(self, log_norms: AllNorms) -> Float[np.ndarray, "N Q"]:
        """The projection of every view; nan where the embedding was unusable."""
        return self.ratio_.project(self._standardised(log_norms))

    def _standardised(self, log_norms: AllNorms) -> Float[np.ndarray, "N Q F"]:
        finite = np.where(np.isfinite(log_norms).all(axis=2, keepdims=True), log_norms, np.nan)
        features = np.diff(finite, axis=2) if self.contrast else finite
        return np.stack([standardise(features[..., f]) for f in range(features.shape[2])], axis=2)

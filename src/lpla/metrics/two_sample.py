"""Whether features alone tell two groups apart: the classifier two-sample test (Lopez-Paz & Oquab, arXiv 1610.06545).

Ours: ridge regression on +1 and -1 in place of logistic regression. In the small differences that matter both order the
images alike (equal AUCs to .01 on altered CIFAR-100), and one factorisation serves all permutations of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from lpla.contracts.streams import stream
from lpla.metrics.nulls import FALSE_ALARMS
from lpla.metrics.significance import separation

FOLDS, PERMUTATIONS = 10, 499
PENALTY = 40.0
"""Weight of the squared weights: to first order that of logistic regression with C = 0.1, as 4 / C."""
CONSTANT = 1e-9
"""Deviation, as a part of the largest value, below which a feature does not vary."""
FEWEST = FOLDS
"""Images of the smaller group below which no test is made."""


@dataclass(frozen=True)
class TwoSample:
    """The AUC of a classifier that is judged on images it did not learn from, its p-value, and the telling feature."""

    auc: float
    p: float
    feature: str
    """The one that alone separates the groups most."""
    feature_auc: float
    score: Float[np.ndarray, " N"]
    """What the classifier says of each image, which it did not learn from; higher = member."""

    @property
    def distrust(self) -> bool:
        """Whether groups drawn alike would come out so with probability `FALSE_ALARMS` at most."""
        return self.p <= FALSE_ALARMS


def two_sample(
    features: Float[np.ndarray, "N F"], names: Sequence[str], member: Bool[np.ndarray, " N"]
) -> TwoSample | None:
    """Learn to tell the groups apart on nine tenths of the images, judge the rest, in turn; then with permuted labels.

    Args:
        features: One row per image.
        names: Of the features.
        member: Which group each image is in.

    Returns:
        The result; its p-value is exact, (1 + permutations that come out as high) / (1 + permutations). None if a group
        has fewer than `FEWEST` images, or if no feature varies.
    """
    spread = features.std(axis=0)
    varies = spread > CONSTANT * np.abs(features).max(axis=0)
    if min(member.sum(), (~member).sum()) < FEWEST or not varies.any():
        return None
    x = (features[:, varies] - features[:, varies].mean(axis=0)) / spread[varies]
    random = stream("two-sample test", 0, len(member))
    labels = np.column_stack([member, *(random.permutation(member) for _ in range(PERMUTATIONS))])
    said = _judged_apart(x, labels, random.permutation(len(member)) % FOLDS)
    found = _areas(said, labels)
    z = [separation(column, member) for column in features.T]
    best = int(np.argmax(np.abs(z)))
    # Equal orders of the images are equal areas but for rounding.
    p = float(np.mean(found >= found[0] - 1e-12))
    of_best = float(_areas(features[:, best : best + 1], member[:, None])[0])
    return TwoSample(float(found[0]), p, names[best], of_best, said[:, 0])


def _judged_apart(
    x: Float[np.ndarray, "N F"], labels: Bool[np.ndarray, "N P"], fold: np.ndarray
) -> Float[np.ndarray, "N P"]:
    """What a regression on each column of labels says of the images of the folds that it did not see."""
    from sklearn.linear_model import Ridge

    said, sign = np.empty(labels.shape), np.where(labels, 1.0, -1.0)
    for one in range(FOLDS):
        apart = fold == one
        said[apart] = Ridge(alpha=PENALTY, solver="cholesky").fit(x[~apart], sign[~apart]).predict(x[apart])
    return said


def _areas(score: Float[np.ndarray, "N P"], labels: Bool[np.ndarray, "N P"]) -> Float[np.ndarray, " P"]:
    """The AUC of every column."""
    members = labels.sum(axis=0)
    above = (rankdata(score, axis=0) * labels).sum(axis=0) - members * (members + 1) / 2
    return above / (members * (len(labels) - members))

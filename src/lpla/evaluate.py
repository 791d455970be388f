"""How much a score tells members from non-members, with intervals, and what the encoder is worth (our section 6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.stats import binomtest, rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lpla.contracts import InputError

NEEDED_NONMEMBERS = {0.05: 100, 0.01: 1_000, 0.001: 10_000}
"""Non-members below which the true-positive rate at that false-positive rate is not worth a number."""
ALPHA = 0.05
NORMAL_QUANTILE = 1.959963984540054
KNN_TEMPERATURE = 0.1
UTILITY_VERSION = 1
"""Raise it when a change here changes an accuracy."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def auc(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> Estimate:
    """Area under the ROC curve with DeLong's interval (DeLong 1988, by midranks as in Sun & Xu 2014)."""
    inside, outside = _sides(score, member)
    m, n = len(inside), len(outside)
    ranks = rankdata(np.concatenate([inside, outside]))
    below_member = (ranks[:m] - rankdata(inside)) / n
    above_nonmember = 1 - (ranks[m:] - rankdata(outside)) / m
    value = float(below_member.mean())
    if value in (0.0, 1.0):
        return _separated(value, min(m, n))
    if np.all(ranks == ranks[0]):
        # DeLong's variance is 0 here; what is known is the spread of a rank sum without any signal.
        return _clipped(value, math.sqrt((m + n + 1) / (12 * m * n)))
    if min(m, n) == 1:
        # One side alone shows no variance; this bounds it for any pair of distributions (Birnbaum & Klose 1957).
        return _clipped(value, math.sqrt(value * (1 - value)))
    variance = below_member.var(ddof=1) / m + above_nonmember.var(ddof=1) / n
    return _clipped(value, math.sqrt(variance))


def _separated(value: float, fewest: int) -> Estimate:
    """All on one side: the bound of Clopper and Pearson for `fewest` successes in as many trials."""
    bound = (ALPHA / 2) ** (1 / fewest)
    return Estimate(1.0, bound, 1.0) if value == 1.0 else Estimate(0.0, 0.0, 1 - bound)


def _clipped(value: float, error: float) -> Estimate:
    return Estimate(value, max(value - NORMAL_QUANTILE * error, 0.0), min(value + NORMAL_QUANTILE * error, 1.0))


def tpr_at(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], fpr: float) -> Estimate | None:
    """True-positive rate at the largest achievable false-positive rate <= `fpr`; None where `tpr_absent` says why.

    A threshold never splits a tie. The interval is Clopper and Pearson's for the members, given the threshold.
    """
    inside, outside = _sides(score, member)
    if tpr_absent(fpr, len(outside)):
        return None
    allowed = math.floor(fpr * len(outside) + 1e-9)
    first_refused = np.sort(outside)[::-1][allowed]
    found = binomtest(int(np.sum(inside > first_refused)), len(inside))
    interval = found.proportion_ci(1 - ALPHA, method="exact")
    return Estimate(float(found.statistic), float(interval.low), float(interval.high))


def tpr_absent(fpr: float, nonmembers: int) -> str | None:
    """The sentence that says why there is no true-positive rate at `fpr`; None if there is one."""
    if fpr not in NEEDED_NONMEMBERS:
        raise ValueError(f"fpr must be one of {', '.join(map(str, NEEDED_NONMEMBERS))}, got {fpr}")
    if nonmembers >= NEEDED_NONMEMBERS[fpr]:
        return None
    return f"TPR at {fpr:.1%} FPR needs at least {NEEDED_NONMEMBERS[fpr]} non-members, got {nonmembers}"


def balanced_accuracy(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], threshold: float) -> float:
    """Mean of the two rates of right calls; a score at or above the threshold is called a member."""
    inside, outside = _sides(score, member)
    return float((np.mean(inside >= threshold) + np.mean(outside < threshold)) / 2)


def _sides(
    score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " n"]]:
    """Scores of members and of non-members, checked."""
    if score.shape != member.shape or score.ndim != 1:
        raise ValueError(f"score and member must be [N], one per image, got {score.shape} and {member.shape}")
    if unknown := int(np.isnan(score).sum()):
        raise ValueError(f"scores must be numbers, got {unknown} NaN of {len(score)}")
    if not member.any() or member.all():
        raise InputError(f"at least one member and one non-member are needed, got {member.sum()} and {(~member).sum()}")
    return score[member], score[~member]


def knn_accuracy(
    bank_x: Float[np.ndarray, "M D"],
    bank_y: Int[np.ndarray, " M"],
    test_x: Float[np.ndarray, "T D"],
    test_y: Int[np.ndarray, " T"],
    k: int = 200,
) -> float:
    """Accuracy of the k nearest by cosine, votes weighted exp(similarity / 0.1) as in lightly (arXiv 1805.01978)."""
    _check_utility(bank_x, bank_y, test_x, test_y)

    def weights(distance: Float[np.ndarray, "T k"]) -> Float[np.ndarray, "T k"]:
        return np.exp(-distance / KNN_TEMPERATURE)

    model = KNeighborsClassifier(
        min(k, len(bank_x)),
        metric="cosine",
        weights=weights,  # pyright: ignore[reportArgumentType]  (documented; the stub knows only the names)
    )
    return float(model.fit(bank_x, bank_y).score(test_x, test_y))


def linear_accuracy(
    bank_x: Float[np.ndarray, "M D"],
    bank_y: Int[np.ndarray, " M"],
    test_x: Float[np.ndarray, "T D"],
    test_y: Int[np.ndarray, " T"],
) -> float:
    """Accuracy of a logistic regression on the frozen, standardised embeddings."""
    _check_utility(bank_x, bank_y, test_x, test_y)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, random_state=0))
    return float(model.fit(bank_x.astype(np.float64), bank_y).score(test_x.astype(np.float64), test_y))


def _check_utility(bank_x: np.ndarray, bank_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> None:
    for name, x, y in (("bank", bank_x, bank_y), ("test", test_x, test_y)):
        if len(x) != len(y) or not len(x):
            raise ValueError(f"utility needs one label per {name} image and at least one, got {len(x)} and {len(y)}")
        if unusable := int((~np.isfinite(x).all(axis=1)).sum()):
            raise ValueError(f"utility needs finite embeddings, {unusable} of {len(x)} in the {name} are not")
    if len(np.unique(bank_y)) < 2:
        raise InputError("utility needs at least 2 classes in the bank, got 1")


def embedding_spread(x: Float[np.ndarray, "N D"]) -> float:
    """Mean over dimensions of the deviation of unit-length embeddings, times sqrt(D): 0 collapsed, 1 isotropic.

    SimSiam's test for collapse (Chen & He, arXiv 2011.10566, section 4.1).
    """
    norm = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    unit = np.divide(x, norm, out=np.zeros(x.shape), where=norm > 0)
    return float(unit.std(axis=0).mean() * math.sqrt(x.shape[1]))


def pixel_norm_auc(pixels: UInt8[np.ndarray, "N C H W"], member: Bool[np.ndarray, " N"]) -> Estimate:
    """Blind baseline: AUC of the pixels' L2 norm, without any encoder; far from 0.5 on either side = a bad split."""
    flat = pixels.reshape(len(pixels), -1)
    squared_norm = np.einsum("nf,nf->n", flat, flat, dtype=np.int64)
    return auc(squared_norm.astype(np.float64), member)


def permuted(
    inside: Bool[np.ndarray, "K N"], candidates: Bool[np.ndarray, " N"], seed: int | list[int]
) -> Bool[np.ndarray, "K N"]:
    """Membership without truth: every image carries the whole column of another one (a candidate that of a candidate).

    The layout's balance survives, so an attack is fitted as it was; only the tie between image and membership is cut.
    """
    order = np.arange(inside.shape[1])
    for group in (candidates, ~candidates):
        order[group] = np.random.default_rng(seed).permutation(order[group])
    return inside[:, order]

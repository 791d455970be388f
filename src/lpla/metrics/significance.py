"""Whether scores leak membership: two exact tests of "no leak", and what they say over many rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr
from scipy.stats import rankdata

from lpla.metrics.permuted_sums import doubled_ranks, heavily_tied, in_errors, sum_p_value
from lpla.metrics.roc import leak_p_value, lowest_fpr, sides

LEVEL = 0.0125
"""Level of each of the two tests, so that a row without a leak is called leaking with probability 2.5 % at most."""
EXACT_BELOW = 40
"""Images, members and non-members together, below which the rank test counts all memberships; above it is normal, but
for scores with heavy ties."""
BACKWARDS = 0.0005
"""Probability, at most, that scores without a leak are called separating the wrong way (3.29 standard errors)."""
FALLBACK_FPR = 0.05
"""False-positive rate of the tail test where the non-members are too few for any true-positive rate worth a number."""


@dataclass(frozen=True)
class LeakTest:
    """One-sided p-values of "no leak" by all ranks and by the highest ranks, and whether they could have been small.

    `separation` is the AUC less 0.5 in standard errors of an AUC without a leak; `p_backwards` is the rank test of the
    opposite order, non-members above members, of which only a fault is the cause.
    """

    p_rank: float
    p_tail: float
    tail_fpr: float
    separation: float
    p_backwards: float
    undecided: str | None
    """The sentence that says why no membership whatever of these scores could be called a leak; None: one could."""
    doubtful: str | None
    """The sentence on scores that look backwards and are too few to be called so in any order; None for all others."""

    @property
    def leaks(self) -> bool:
        """Whether one of the two tests rejects "no leak"."""
        return not self.undecided and min(self.p_rank, self.p_tail) < LEVEL

    @property
    def backwards(self) -> bool:
        """Whether the scores separate the groups the wrong way."""
        return self.p_backwards < BACKWARDS

    @property
    def p(self) -> float:
        """The p-value of both tests together (Bonferroni)."""
        return min(1.0, 2 * min(self.p_rank, self.p_tail))


def leak_test(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], spread: float = 1.0) -> LeakTest:
    """Run both tests on the scores (higher = member) of one row, at any number of images.

    Args:
        score: One per image.
        member: Whether each image was inside.
        spread: Of the rank test (`rank_p_value`). The tail test has none: without a leak it rejects .006 to .013 of
            cross-fitted audits, where it allows .0125 (300 to 700 simulated, 30 to 300 images a side).

    Returns:
        Both p-values and what they rest on.
    """
    inside, outside = sides(score, member)
    fpr = lowest_fpr(len(outside)) or FALLBACK_FPR
    backwards = rank_p_value(-score, member, spread)
    return LeakTest(
        rank_p_value(score, member, spread),
        leak_p_value(score, member, fpr),
        fpr,
        separation(score, member) / spread,
        backwards,
        _undecided(score, len(inside), len(outside), fpr, spread),
        _doubtful(score, member, backwards, spread),
    )


def _undecided(score: Float[np.ndarray, " N"], members: int, nonmembers: int, fpr: float, spread: float) -> str | None:
    counts = f"{members} members against {nonmembers} non-members"
    if min(members, nonmembers) < 2:
        return f"no test is possible with one image on a side ({counts})"
    if score.min() == score.max():
        return f"no test is possible, as all scores are equal ({counts})"
    best = _members_highest(score, nonmembers)
    if min(rank_p_value(score, best, spread), leak_p_value(score, best, fpr)) < LEVEL:
        return None
    return f"no test is possible: scores like these would not be significant in any order ({counts})"


def _doubtful(
    score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], backwards: float, spread: float
) -> str | None:
    """The sentence if this order is unlikely without a fault, and no order of such scores would be unlikely enough."""
    members, nonmembers = int(member.sum()), int((~member).sum())
    if backwards >= LEVEL or rank_p_value(-score, _members_highest(-score, nonmembers), spread) < BACKWARDS:
        return None
    counts = f"{members} members against {nonmembers} non-members"
    return (
        f"the scores separate the groups the wrong way (p = {backwards:.2g}), which so few may do by chance ({counts})"
    )


def _members_highest(score: Float[np.ndarray, " N"], nonmembers: int) -> Bool[np.ndarray, " N"]:
    """The membership of the largest leak that these scores could show."""
    return np.argsort(np.argsort(score, kind="stable"), kind="stable") >= nonmembers


def separation(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> float:
    """Return the AUC less 0.5 in standard errors without a leak (`auc_and_error`); 0 if all scores tie."""
    area, error = auc_and_error(score, member)
    return (area - 0.5) / error if error else 0.0


def auc_and_error(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> tuple[float, float]:
    """AUC, and its standard error without a leak, corrected for ties (Mann & Whitney 1947): 0 if all scores tie."""
    inside, outside = sides(score, member)
    m, n = len(inside), len(outside)
    ranks = rankdata(np.concatenate([inside, outside]))
    area = (ranks[:m].sum() - m * (m + 1) / 2) / (m * n)
    return float(area), math.sqrt(ranks.var() / (m * n * (m + n - 1)))


def rank_p_value(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], spread: float = 1.0) -> float:
    """Compute the one-sided p-value of "no leak" from all ranks.

    Of all memberships (`sum_p_value`) below `EXACT_BELOW` images and where ties are heavy, else by the normal law. With
    a `spread` the orders of cross-fitted scores are not equal, and the normal law has that many standard errors.

    Args:
        score: One score per image, higher = member.
        member: Whether each image was inside the target.
        spread: Standard errors of the normal law, in those of independent scores: cross-fitted scores have more
            (`intervals.CROSS_FITTED`).

    Returns:
        The probability of an AUC as high, all orders being equal.
    """
    sides(score, member)
    doubled = doubled_ranks(score)
    if spread != 1.0:
        return float(ndtr(-in_errors(separation(score, member), doubled, member) / spread))
    if len(score) < EXACT_BELOW or heavily_tied(doubled, int(member.sum())):
        return sum_p_value(doubled, member)
    return float(ndtr(-separation(score, member)))


def holm(p: Sequence[float]) -> Float[np.ndarray, " R"]:
    """Adjusted p-values (Holm 1979): those below 5 % hold a false one with probability 5 % at most."""
    found = np.asarray(p, dtype=float)
    order = np.argsort(found, kind="stable")
    adjusted = np.empty(len(found))
    adjusted[order] = np.minimum(np.maximum.accumulate(found[order] * np.arange(len(found), 0, -1)), 1.0)
    return adjusted

"""What the encoders of one recipe leak, each the target in turn, judged by the others (ours).

One audit trains K encoders alike. Each of them is the target once, so that figures stand on K targets where the audited
one alone gives one: the mean of their AUCs, and true-positive rates with one threshold for all. Scores of one image
depend on each other, and so do those of one target; the errors allow for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit, ndtr, ndtri

from lpla.contracts.streams import stream
from lpla.metrics.permuted_sums import DRAWS, doubled_ranks, drawn_sums, heavily_tied
from lpla.metrics.roc import (
    ALPHA,
    NORMAL_QUANTILE,
    Estimate,
    allowed_at,
    first_refused,
    leak_p_value,
    placements,
    sides,
)
from lpla.metrics.significance import EXACT_BELOW, LEVEL, auc_and_error

FPR = 0.05
"""False-positive rate at which the tail test of the verdict is made."""
DECIDING_QUANTILE = float(ndtri(1 - LEVEL))
"""Standard errors above no leak at which an interval agrees with its test: its own level is that of the test."""
FEWEST_ACCUSED = 5
"""False positives to be expected of all targets' non-members below which a rate is not worth a number."""
ROUNDING = 1e-9
"""Difference, at most, between sums of areas that count as equal."""
STEP = 0.02
"""Range of false-positive rates, at most, over which the slope of the ROC is taken."""


@dataclass(frozen=True)
class Rotation:
    """Scores of every encoder of one audit as the target, higher = member: row t of target t, column i of an image.

    `index` is an image's identity in its data set, by which audits of several seeds know their common images.
    """

    score: Float[np.ndarray, "K N"]
    member: Bool[np.ndarray, "K N"]
    index: Int[np.ndarray, " N"]
    named: Bool[np.ndarray, "K N"] | None = None
    """Whether it is at or above the threshold that the target's own jury set; None: that was not asked."""


@dataclass(frozen=True)
class Recipe:
    """What all targets say together; a rate is None where `FEWEST_ACCUSED` are not to be expected."""

    targets: int
    auc: Estimate
    tpr_at_5pct: Estimate | None
    tpr_at_1pct: Estimate | None
    p: float | None
    """P-value of the pooled test of "no leak" at 5 % false positives; None where no test was possible."""
    p_rank: float | None
    """P-value of the test of "no leak" by the mean AUC (`rank_p_value`); None likewise."""
    verdict: str


@dataclass(frozen=True)
class Pooled:
    """Scores of all targets in one row, each with its target and its image."""

    score: Float[np.ndarray, " M"]
    member: Bool[np.ndarray, " M"]
    target: Int[np.ndarray, " M"]
    image: Int[np.ndarray, " M"]


def pooled(rotations: Sequence[Rotation]) -> Pooled:
    """Pool the targets of audits of one data set: targets are numbered through, an image is the same in all audits."""
    image = np.concatenate([np.broadcast_to(one.index, one.score.shape).ravel() for one in rotations])
    targets = [len(one.score) for one in rotations]
    images = np.repeat([len(one.index) for one in rotations], targets)
    return Pooled(
        np.concatenate([one.score.ravel() for one in rotations]),
        np.concatenate([one.member.ravel() for one in rotations]),
        np.repeat(np.arange(sum(targets)), images),
        np.unique(image, return_inverse=True)[1],
    )


def recipe(rotations: Sequence[Rotation]) -> Recipe:
    """Return the figures and the verdict of the recipe by which the encoders of one or several audits were trained.

    Args:
        rotations: of one data set; those of several seeds are pooled, and judged with one threshold.

    Returns:
        Figures with conservative 95 % intervals (`two_way_errors`).

    Raises:
        InputError: if one of the targets has no member or no non-member among its images.
    """
    pool = pooled(rotations)
    targets, fewest = int(pool.target[-1]) + 1, _fewest(pool)
    area = _estimate(*auc_influence(pool), pool, fewest)
    rates = {fpr: _rate(pool, fpr, fewest) for fpr in (0.05, 0.01)}
    return Recipe(targets, area, rates[0.05], rates[0.01], *_decide(pool, area, fewest))


def auc_influence(pool: Pooled) -> tuple[float, Float[np.ndarray, " M"]]:
    """Return the mean AUC over targets, and the influence of every score on it: its derivative by the score's weight.

    To that of the images (DeLong's components) every score of a target adds its share of the target's own deviation,
    so that a target's sum is (AUC_t - mean) / K.
    """
    targets = int(pool.target[-1]) + 1
    influence, areas = np.zeros(len(pool.score)), np.zeros(targets)
    for target in range(targets):
        own = np.flatnonzero(pool.target == target)
        member = pool.member[own]
        by_member, by_nonmember = placements(pool.score[own], member)
        areas[target] = by_member.mean()
        influence[own[member]] = (by_member - areas[target]) / len(by_member) / targets
        influence[own[~member]] = (by_nonmember - areas[target]) / len(by_nonmember) / targets
    mean = float(areas.mean())
    images = np.bincount(pool.target)
    return mean, influence + ((areas - mean) / targets / images)[pool.target]


def tpr_influence(pool: Pooled, fpr: float) -> tuple[float, Float[np.ndarray, " M"]]:
    """Return the pooled true-positive rate at `fpr` by one threshold, and the influence of every score on it.

    A member counts by being above the threshold; a non-member moves the threshold, which costs the slope of the ROC.
    """
    inside, outside = sides(pool.score, pool.member)

    def found(at: float) -> tuple[float, float]:
        cut = first_refused(outside, max(allowed_at(at, len(outside)), 0))
        return float(np.mean(inside > cut)), cut

    value, cut = found(fpr)
    step = min(STEP, fpr / 2)
    slope = max(found(fpr + step)[0] - found(fpr - step)[0], 0.0) / (2 * step)
    above = (pool.score > cut).astype(float)
    of_members = (above - value) / len(inside)
    of_others = -slope * (above - np.mean(outside > cut)) / len(outside)
    return value, np.where(pool.member, of_members, of_others)


def two_way_errors(pool: Pooled, influence: Float[np.ndarray, " M"]) -> tuple[float, float]:
    """Return the standard errors of a figure clustered by image and by target: the two-way, and the conservative one.

    V_image and V_target are sums of squared cluster sums, V_target with the correction K / (K - 1); V_cell is the sum
    of squares, which both hold (Cameron, Gelbach & Miller 2011). Two-way: sqrt(V_image + V_target - V_cell), not below
    either. Conservative: without the subtraction, because target t is judged by weights that were learnt on target t',
    and t' by those learnt on t, so that the noise of the two counts twice, which no cluster sees.
    """
    targets = int(pool.target[-1]) + 1
    image = float((np.bincount(pool.image, influence) ** 2).sum())
    target = float((np.bincount(pool.target, influence) ** 2).sum()) * targets / max(targets - 1, 1)
    cell = float((influence**2).sum())
    return math.sqrt(max(image + target - cell, image, target)), math.sqrt(image + target)


def rank_p_value(pool: Pooled) -> float:
    """One-sided p-value of "no leak" by the mean AUC, targets being strata of their own (van Elteren 1960).

    Without a leak, and given the scores, all orders of one target's images are equally likely, so that its AUC has the
    null error of a rank sum; the normal law of their mean takes the targets for independent. Where a target has fewer
    images than `EXACT_BELOW` or heavy ties, memberships are drawn instead, each target's on its own: at `LEVEL`, .0125,
    the normal law alarms in .0150 of 2 to 20 images a side without ties, and in .14 of 3 against 60 or 2 against 200
    with one or five scores above all others (exact laws of 2 to 16 targets).
    """
    seen, squared, strange, drawn = 0.0, 0.0, False, np.zeros(DRAWS)
    for target in range(int(pool.target[-1]) + 1):
        own = pool.target == target
        score, member = pool.score[own], pool.member[own]
        area, error = auc_and_error(score, member)
        seen, squared = seen + area - 0.5, squared + error**2
        ranks, m, n = doubled_ranks(score), int(member.sum()), int((~member).sum())
        if len(score) < EXACT_BELOW or heavily_tied(ranks, m):
            strange = True
            drawn += (drawn_sums(ranks, m, DRAWS, target) - m * (m + n + 1)) / (2 * m * n)
        else:
            drawn += error * stream("areas of targets with many images", 0, target).normal(size=DRAWS)
    if strange:
        return float(1 + np.sum(drawn >= seen - ROUNDING)) / (1 + DRAWS)
    return float(ndtr(-seen / math.sqrt(squared))) if squared else 1.0


def _rate(pool: Pooled, fpr: float, fewest: int) -> Estimate | None:
    if fpr * int((~pool.member).sum()) < FEWEST_ACCUSED - 1e-9:
        return None
    return _estimate(*tpr_influence(pool, fpr), pool, fewest)


def _estimate(
    value: float,
    influence: Float[np.ndarray, " M"],
    pool: Pooled,
    fewest: int,
    quantile: float = NORMAL_QUANTILE,
) -> Estimate:
    """The conservative interval on the logit's scale; at 0 and 1 Clopper and Pearson's bound for the fewest images."""
    if value in (0.0, 1.0):
        bound = (ALPHA / 2) ** (1 / fewest)
        return Estimate(1.0, bound, 1.0) if value else Estimate(0.0, 0.0, 1 - bound)
    half = quantile * two_way_errors(pool, influence)[1] / (value * (1 - value))
    return Estimate(value, float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def _fewest(pool: Pooled) -> int:
    """Images on the smaller side of the target that has fewest."""
    return int(min(np.bincount(pool.target, side).min() for side in (pool.member, ~pool.member)))


def _decide(pool: Pooled, area: Estimate, fewest: int) -> tuple[float | None, float | None, str]:
    """The p-values of the tail and of the ranks, and the verdict.

    A recipe leaks if one of two tests says so, each at `LEVEL`, and the interval of its own figure agrees at that level
    too: the tests have no margin where weights are learnt. For the AUC that is the conservative interval, as the noise
    of weights moves whole targets; for the rate the two-way one.
    """
    others, needed = int((~pool.member).sum()), math.ceil(FEWEST_ACCUSED / FPR)
    if others < needed:
        few = f"at {FPR:.0%} FPR all targets need at least {needed} non-members together, got {others}"
        return None, None, f"recipe undecided: {few}"
    if pool.score.min() == pool.score.max():
        return None, None, "recipe undecided: no test is possible, as all scores are equal"
    p, p_rank = leak_p_value(pool.score, pool.member, FPR), rank_p_value(pool)
    value, influence = tpr_influence(pool, FPR)
    rate, error = _estimate(value, influence, pool, fewest), two_way_errors(pool, influence)[0]
    careful = _estimate(*auc_influence(pool), pool, fewest, DECIDING_QUANTILE)
    by_tail = p < LEVEL and value - DECIDING_QUANTILE * error > FPR
    by_ranks = p_rank < LEVEL and careful.low > 0.5
    decides = f"; the {'rank' if by_ranks and (not by_tail or p_rank <= p) else 'tail'} test decides"
    leaks = by_tail or by_ranks
    said = (
        f"{'recipe leaks' if leaks else 'no leak of the recipe found at this sample size'}: AUC {area.value:.3f} "
        f"[{area.low:.3f} {area.high:.3f}] (rank test p = {p_rank:.2g}), TPR {rate.value:.1%} [{rate.low:.1%} "
        f"{rate.high:.1%}] at {FPR:.1%} FPR by one threshold (pooled test p = {p:.2g}){decides if leaks else ''}"
    )
    return p, p_rank, said

"""How much a score tells members from non-members, each figure with its 95 % interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit
from scipy.stats import hypergeom, rankdata

from lpla.contracts.result import InputError
from lpla.contracts.streams import stream
from lpla.metrics.intervals import ALPHA, NORMAL_QUANTILE, clopper_pearson, newcombe, wilson

NEEDED_NONMEMBERS = {0.05: 100, 0.01: 1_000, 0.001: 10_000}
"""Non-members below which the true-positive rate at that false-positive rate is not worth a number."""
RESAMPLES = 1_000
"""Resamples of the bootstrap of a true-positive rate's interval; by its fixed seed equal scores have equal bounds."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Rate:
    """A true-positive rate with its 95 % interval, the false-positive rate asked for and the one that was possible."""

    value: float
    low: float
    high: float
    requested_fpr: float
    realised_fpr: float


def auc(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], spread: float = 1.0) -> Estimate:
    """Compute the area under the ROC curve with the logit interval of DeLong's error, widened near 1 (9.3).

    DeLong's error (1988, by midranks as in Sun & Xu 2014) is symmetric about the area, whose own distribution is not
    near 1: on the scale of log(AUC / (1 - AUC)) the interval stays within 0 and 1. Near 1 few images show the variance,
    and fewer where a group is small: it covers .81 at .995 (100 against 100, exponential scores) and .77 at .99 (20
    against 5,000). Each end moves towards that of Newcombe's score interval, if that is wider, by 1 - smaller / larger
    group / 2 of the way, half of it in groups of one size. Of these 50, 100 and 1,000 a side then cover .945 to .99
    (4,000 draws of each of five distributions, AUC .5 to .995); up to .9 the interval is 2 % wider at most.

    Args:
        score: One score per image, higher = member.
        member: Who was inside the target.
        spread: By which DeLong's error is multiplied (`intervals.CROSS_FITTED`).

    Returns:
        The area with its interval.
    """
    by_member, by_nonmember = placements(score, member)
    value = float(by_member.mean())
    if (bound := boundary(value, by_member, by_nonmember, spread)) is not None:
        return bound
    half = NORMAL_QUANTILE * spread * delong_error(by_member, by_nonmember) / (value * (1 - value))
    low, high = float(expit(logit(value) - half)), float(expit(logit(value) + half))
    fewer, more = sorted((len(by_member), len(by_nonmember)))
    bottom, top = newcombe(value, fewer, more)
    part = 1 - fewer / more / 2
    return Estimate(value, low - part * max(low - bottom, 0.0), high + part * max(top - high, 0.0))


def delong_error(by_member: Float[np.ndarray, " m"], by_nonmember: Float[np.ndarray, " n"]) -> float:
    """Standard error over images of the mean of `placements`, or of the differences of two attacks' (DeLong 1988)."""
    return math.sqrt(by_member.var(ddof=1) / len(by_member) + by_nonmember.var(ddof=1) / len(by_nonmember))


def null_error(members: int, nonmembers: int) -> float:
    """Return the standard error of an AUC without signal and without ties: that of a rank sum (Mann & Whitney 1947)."""
    return math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))


def placements(
    score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " n"]]:
    """Part of the non-members below each member and of the members above each non-member; a tie counts one half."""
    inside, outside = sides(score, member)
    m, n = len(inside), len(outside)
    ranks = rankdata(np.concatenate([inside, outside]))
    return (ranks[:m] - rankdata(inside)) / n, 1 - (ranks[m:] - rankdata(outside)) / m


def boundary(
    value: float, by_member: Float[np.ndarray, " m"], by_nonmember: Float[np.ndarray, " n"], spread: float = 1.0
) -> Estimate | None:
    """Return the interval of an AUC whose sample shows no variance of its own; None for all others."""
    m, n = len(by_member), len(by_nonmember)
    if value in (0.0, 1.0):
        return _separated(value, min(m, n))
    if np.all(by_member == 0.5) and np.all(by_nonmember == 0.5):
        # All scores are one; what is known is the spread of a rank sum without any signal.
        return _clipped(value, spread * null_error(m, n))
    if min(m, n) == 1:
        # One side alone shows no variance; this bounds it for any pair of distributions (Birnbaum & Klose 1957).
        return _clipped(value, spread * math.sqrt(value * (1 - value)))
    return None


def _separated(value: float, fewest: int) -> Estimate:
    """All on one side: the bound of Clopper and Pearson for `fewest` successes in as many trials."""
    bound = (ALPHA / 2) ** (1 / fewest)
    return Estimate(1.0, bound, 1.0) if value == 1.0 else Estimate(0.0, 0.0, 1 - bound)


def _clipped(value: float, error: float) -> Estimate:
    return Estimate(value, max(value - NORMAL_QUANTILE * error, 0.0), min(value + NORMAL_QUANTILE * error, 1.0))


def tpr_at(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], fpr: float) -> Rate | None:
    """Estimate the true-positive rate at `fpr`; returns None where `tpr_absent` says why.

    Args:
        score: One score per image, higher = member.
        member: Who was inside the target.
        fpr: One of `NEEDED_NONMEMBERS`, of the population of non-members.

    The cut is the (k+1)-th largest non-member, k = floor(fpr (n + 1)) - 1, and images above it are called members: a
    further non-member is called one with probability (k + 1) / (n + 1) <= `fpr`. A cut never splits a tie: members
    level with it are refused too. The interval is for the true-positive rate at `fpr` in the population, so it allows
    for the cut, which the non-members only estimate, and for the members (see `_tpr_interval`).
    """
    inside, outside = sides(score, member)
    if tpr_absent(fpr, len(outside)):
        return None
    allowed = allowed_at(fpr, len(outside))
    cut = first_refused(outside, allowed)
    low, high = _tpr_interval(inside, outside, allowed)
    return Rate(float(np.mean(inside > cut)), low, high, fpr, float(np.mean(outside > cut)))


def allowed_at(fpr: float, nonmembers: int) -> int:
    """False positives above a cut that a further non-member passes with probability `fpr` at most; -1: no cut."""
    return math.floor(fpr * (nonmembers + 1) + 1e-9) - 1


def _tpr_interval(
    inside: Float[np.ndarray, " m"], outside: Float[np.ndarray, " n"], allowed: int
) -> tuple[float, float]:
    """Percentiles of a bootstrap of the cut and of the members above it.

    The (k+1)-th largest of n draws with replacement from the sorted non-members stands at place floor(n B) from the
    top, B ~ Beta(k + 1, n - k): the (k+1)-th smallest of n uniform numbers. Where all members or none are found,
    resamples would not vary: there Clopper and Pearson's bound of that side counts too.
    """
    random, m, n = stream("interval of a true-positive rate", 0), len(inside), len(outside)
    place = np.minimum((n * random.beta(allowed + 1, n - allowed, RESAMPLES)).astype(int), n - 1)
    cut = np.sort(outside)[::-1][place]
    above = 1 - np.searchsorted(np.sort(inside), cut, "right") / m
    low, high = np.quantile(random.binomial(m, above) / m, [ALPHA / 2, 1 - ALPHA / 2])
    found = int(np.sum(inside > first_refused(outside, allowed)))
    exact_low, exact_high = clopper_pearson(found, m)
    low = min(low, exact_low) if found == m else low
    high = max(high, exact_high) if found == 0 else high
    return min(float(low), found / m), max(float(high), found / m)


def tpr_absent(fpr: float, nonmembers: int) -> str | None:
    """Return the sentence that says why there is no true-positive rate at `fpr`; None if there is one."""
    if fpr not in NEEDED_NONMEMBERS:
        raise ValueError(f"fpr must be one of {', '.join(map(str, NEEDED_NONMEMBERS))}, got {fpr}")
    if nonmembers >= NEEDED_NONMEMBERS[fpr]:
        return None
    return f"TPR at {fpr:.1%} FPR needs at least {NEEDED_NONMEMBERS[fpr]} non-members, got {nonmembers}"


def lowest_fpr(nonmembers: int) -> float | None:
    """Return the lowest false-positive rate for which so many non-members suffice; None if they suffice for none."""
    return min((fpr for fpr, needed in NEEDED_NONMEMBERS.items() if nonmembers >= needed), default=None)


def leak_p_value(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], fpr: float) -> float:
    """Exact one-sided p-value of "no leak" from the tail, at any size; arguments as of `tpr_at`.

    Without a leak all orders of the m + n scores are equally likely. The number X of members above the (k+1)-th largest
    non-member, k = floor(fpr n), is then negative hypergeometric, and X >= x exactly if the x + k largest scores hold
    at least x members. Members level with that non-member do not count, which can only raise the p-value.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"fpr must be between 0 and 1, got {fpr}")
    members = int(member.sum())
    found, allowed = found_in_tail(score, member, fpr)
    # Rounding may end an ulp above 1.
    return min(float(hypergeom.sf(found - 1, len(score), members, found + allowed)), 1.0)


def found_in_tail(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], fpr: float) -> tuple[int, int]:
    """Count the members of `leak_p_value`, and the non-members above which they need not lie; arguments as of it."""
    inside, outside = sides(score, member)
    allowed = _allowed(fpr, len(outside))
    return int(np.sum(inside > first_refused(outside, allowed))), allowed


def _allowed(fpr: float, nonmembers: int) -> int:
    """False positives that `fpr` allows; the small number undoes the rounding of, say, 0.07 x 100."""
    return math.floor(fpr * nonmembers + 1e-9)


def first_refused(outside: Float[np.ndarray, " n"], allowed: int) -> float:
    """Return the cut above which so many non-members lie, ties apart."""
    return float(np.sort(outside)[::-1][allowed])


def balanced_accuracy(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], threshold: float) -> Estimate:
    """Average both rates of right calls, members being at or above `threshold`; other arguments as of `auc`.

    The interval joins Wilson's intervals of the two independent rates (the square-and-add method for a sum: Newcombe
    1998, method 10; Zou & Donner 2008). The threshold was learnt elsewhere, so it is taken as given.
    """
    inside, outside = sides(score, member)
    rates = np.array([np.mean(inside >= threshold), np.mean(outside < threshold)])
    low, high = wilson(rates, np.array([len(inside), len(outside)]))
    value = float(rates.mean())
    down, up = (float(np.sqrt(((rates - end) ** 2).sum())) / 2 for end in (low, high))
    return Estimate(value, max(value - down, 0.0), min(value + up, 1.0))


def precision(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], threshold: float) -> Estimate | None:
    """Estimate the share of members among images at or above `threshold`, None of none; other arguments as of `auc`.

    It holds for the groups' own proportion of members, half in the balanced layout. The interval is Clopper and
    Pearson's, given how many images are called members.
    """
    inside, outside = sides(score, member)
    right, wrong = int(np.sum(inside >= threshold)), int(np.sum(outside >= threshold))
    if not right + wrong:
        return None
    return Estimate(right / (right + wrong), *clopper_pearson(right, right + wrong))


def sides(
    score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " n"]]:
    """Return the scores of members and of non-members, checked."""
    if score.shape != member.shape or score.ndim != 1:
        raise ValueError(f"score and member must be [N], one per image, got {score.shape} and {member.shape}")
    if unknown := int(np.isnan(score).sum()):
        raise ValueError(f"scores must be numbers, got {unknown} NaN of {len(score)}")
    if not member.any() or member.all():
        raise InputError(f"at least one member and one non-member are needed, got {member.sum()} and {(~member).sum()}")
    return score[member], score[~member]

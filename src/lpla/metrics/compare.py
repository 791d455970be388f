"""Intervals without a formula, and two attacks on the same target: stratified bootstrap and DeLong's paired test."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import norm

from lpla.contracts.inputs import InputError
from lpla.metrics.roc import ALPHA, NORMAL_QUANTILE, Estimate, boundary, placements, sides

_CHUNK = 2**21
"""Images drawn at a time, over all resamples of a chunk: bounds the memory, and is part of what a seed means."""


def bootstrap_auc(
    score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], seed: int | list[int], resamples: int = 1000
) -> Estimate:
    """Area under the ROC curve with the stratified percentile bootstrap over images (Efron & Tibshirani 1993).

    Members and non-members are each drawn with replacement. Where no resample could differ (separated groups, one
    single score, one image on a side) the interval is that of `evaluate.auc`.
    """
    by_member, by_nonmember = placements(score, member)
    value = float(by_member.mean())
    if (bound := boundary(value, by_member, by_nonmember)) is not None:
        return bound
    inside, outside = sides(score, member)
    outside = np.sort(outside)
    below, upto = np.searchsorted(outside, inside, "left"), np.searchsorted(outside, inside, "right")
    random = np.random.default_rng(seed)
    size = max(1, _CHUNK // len(score))
    drawn = [_resampled(below, upto, len(outside), min(size, resamples - i), random) for i in range(0, resamples, size)]
    low, high = np.quantile(np.concatenate(drawn), [ALPHA / 2, 1 - ALPHA / 2])
    return Estimate(value, float(low), float(high))


def _resampled(
    below: Int[np.ndarray, " m"],
    upto: Int[np.ndarray, " m"],
    nonmembers: int,
    resamples: int,
    random: np.random.Generator,
) -> Float[np.ndarray, " R"]:
    """AUC of each resample; `below` and `upto` count the sorted non-members under and up to each member."""
    drawn_out = np.zeros((resamples, nonmembers + 1), dtype=np.int64)
    np.cumsum(_times_drawn(nonmembers, resamples, random), axis=1, out=drawn_out[:, 1:])
    drawn_in = _times_drawn(len(below), resamples, random)
    wins = np.einsum("rm,rm->r", drawn_in, drawn_out[:, below]) + np.einsum("rm,rm->r", drawn_in, drawn_out[:, upto])
    return wins / (2 * len(below) * nonmembers)


def _times_drawn(images: int, resamples: int, random: np.random.Generator) -> Int[np.ndarray, "R n"]:
    """How often each of `images` is drawn in `images` draws with replacement: multinomial counts."""
    cell = random.integers(images, size=(resamples, images)) + images * np.arange(resamples)[:, None]
    return np.bincount(cell.ravel(), minlength=resamples * images).reshape(resamples, images)


def paired_auc(
    score_a: Float[np.ndarray, " N"], score_b: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]
) -> tuple[Estimate, float]:
    """AUC of `a` minus AUC of `b` on the same images, and the two-sided p-value of no difference (DeLong 1988).

    Scores that order the images equally differ by exactly 0 with p = 1.
    """
    (in_a, out_a), (in_b, out_b) = placements(score_a, member), placements(score_b, member)
    by_member, by_nonmember = in_a - in_b, out_a - out_b
    m, n = len(by_member), len(by_nonmember)
    if min(m, n) < 2:
        raise InputError(f"comparing two attacks needs at least 2 members and 2 non-members, got {m} and {n}")
    difference = float(by_member.mean())
    if not by_member.any() and not by_nonmember.any():
        return Estimate(0.0, 0.0, 0.0), 1.0
    error = math.sqrt(by_member.var(ddof=1) / m + by_nonmember.var(ddof=1) / n)
    if error < 1e-12:
        return _unanimous(difference, min(m, n))
    low, high = difference - NORMAL_QUANTILE * error, difference + NORMAL_QUANTILE * error
    return Estimate(difference, max(low, -1.0), min(high, 1.0)), float(2 * norm.sf(abs(difference) / error))


def _unanimous(difference: float, fewest: int) -> tuple[Estimate, float]:
    """Every image says the same (one attack separates, the other knows nothing): the sign test over `fewest` pairs.

    By Clopper and Pearson a part `bound` of all pairs at least says it; the rest may say anything between -1 and 1.
    """
    bound = (ALPHA / 2) ** (1 / fewest)
    low, high = bound * difference - (1 - bound), bound * difference + (1 - bound)
    return Estimate(difference, max(low, -1.0), min(high, 1.0)), 2.0 ** (1 - fewest)

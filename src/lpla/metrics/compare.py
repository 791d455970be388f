"""Two attacks on the same target, by DeLong's paired test."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm

from lpla.contracts.result import InputError
from lpla.metrics.roc import ALPHA, Estimate, delong_error, placements


def paired_auc(
    score_a: Float[np.ndarray, " N"],
    score_b: Float[np.ndarray, " N"],
    member: Bool[np.ndarray, " N"],
    comparisons: int = 1,
    spread: float = 1.0,
) -> tuple[Estimate, float]:
    """Compare the AUC of two attacks on the same images (DeLong 1988): the difference and the two-sided p-value of
    none.

    Scores that order the images equally differ by exactly 0 with p = 1.

    Args:
        score_a: One score per image, higher = member.
        score_b: The same of another attack.
        member: Who was inside the target.
        comparisons: How many such differences the intervals are to hold together with 95 % (Bonferroni); the p-value
            is this comparison's alone.
        spread: By which the error over images is multiplied (`intervals.CROSS_FITTED`).

    Returns:
        The difference with its interval, and its p-value.

    Raises:
        InputError: If a group has fewer than two images.
    """
    (in_a, out_a), (in_b, out_b) = placements(score_a, member), placements(score_b, member)
    by_member, by_nonmember = in_a - in_b, out_a - out_b
    m, n = len(by_member), len(by_nonmember)
    if min(m, n) < 2:
        raise InputError(f"comparing two attacks needs at least 2 members and 2 non-members, got {m} and {n}")
    difference = float(by_member.mean())
    if not by_member.any() and not by_nonmember.any():
        return Estimate(0.0, 0.0, 0.0), 1.0
    error = spread * delong_error(by_member, by_nonmember)
    if error < 1e-12:
        return _unanimous(difference, min(m, n), ALPHA / comparisons)
    half = float(norm.isf(ALPHA / comparisons / 2)) * error
    low, high = difference - half, difference + half
    return Estimate(difference, max(low, -1.0), min(high, 1.0)), float(2 * norm.sf(abs(difference) / error))


def _unanimous(difference: float, fewest: int, alpha: float) -> tuple[Estimate, float]:
    """Every image says the same (one attack separates, the other knows nothing): the sign test over `fewest` pairs.

    By Clopper and Pearson a part `bound` of all pairs at least says it; the rest may say anything between -1 and 1.
    """
    bound = (alpha / 2) ** (1 / fewest)
    low, high = bound * difference - (1 - bound), bound * difference + (1 - bound)
    return Estimate(difference, max(low, -1.0), min(high, 1.0)), 2.0 ** (1 - fewest)

"""What several targets of one recipe say together, each with its own pool."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit, stdtrit

from lpla.metrics.roc import ALPHA, NORMAL_QUANTILE

FEWEST = 3
"""Targets below which there is no interval: with two, t is 12.7 standard errors and the spread is a coin's throw."""


@dataclass(frozen=True)
class OverTargets:
    """The mean over targets, the recipe's 95 % interval, the interval of one further target, and the targets' spread.

    Bounds are None below `FEWEST` targets; `spread` is the standard deviation between targets without the image error,
    None where that error is not known.
    """

    mean: float
    low: float | None
    high: float | None
    next_low: float | None
    next_high: float | None
    spread: float | None


def over_targets(values: Sequence[float], errors: Sequence[float | None]) -> OverTargets:
    """Student's interval of a figure between 0 and 1 from its values on T >= 2 independent targets.

    Args:
        values: One per target.
        errors: The standard error of each value over the images of its target, None where it is not known.

    The deviation of the T values contains the image error. With 3 targets it can come out small by chance, so that its
    square counts as the mean squared image error at least.
    """
    targets, mean = len(values), float(np.mean(values))
    known = [one**2 for one in errors if one is not None and math.isfinite(one)]
    images = float(np.mean(known)) if len(known) == targets else None
    squared = float(np.var(values, ddof=1))
    spread = None if images is None else math.sqrt(max(squared - images, 0.0))
    if targets < FEWEST:
        return OverTargets(mean, None, None, None, None, spread)
    if targets == FEWEST and images is not None:
        squared = max(squared, images)
    reach = float(stdtrit(targets - 1, 1 - ALPHA / 2)) * math.sqrt(squared)
    recipe, one_more = reach / math.sqrt(targets), reach * math.sqrt(1 + 1 / targets)
    low, first = max(mean - recipe, 0.0), max(mean - one_more, 0.0)
    high, last = min(mean + recipe, 1.0), min(mean + one_more, 1.0)
    return OverTargets(mean, low, high, first, last, spread)


def error_of(value: float | None, low: float | None, high: float | None) -> float | None:
    """Compute the standard error of an area or a rate from its 95 % interval: the logit's where no end is 0 or 1.

    Args:
        value: The area or rate.
        low: Lower end.
        high: Upper end.

    Returns:
        The standard error, or None where one of them is missing.
    """
    if value is None or low is None or high is None:
        return None
    if 0 < low <= value <= high < 1:
        return float(logit(high) - logit(low)) / (2 * NORMAL_QUANTILE) * value * (1 - value)
    return (high - low) / (2 * NORMAL_QUANTILE)

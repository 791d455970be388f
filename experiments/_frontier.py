"""Leak against utility: a defence beside training less, at the same utility, with an interval over seeds.

Training less is free: every share of the training is an encoder of some utility and some leak. A defence is worth what
it leaks less than the best of these that is as useful.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import t as student

from lpla.metrics.roc import ALPHA, Estimate

SAME_UTILITY = 0.02
"""Accuracies that lie closer together are one: the area between the curves is then a mean over the knob's values."""
SEGMENT = 200
"""Points between two measured shares of the training."""


@dataclass(frozen=True)
class At:
    """One encoder's utility and leak."""

    utility: float
    leak: float


def free_leak(line: Sequence[At], utility: float, also: Sequence[At] = ()) -> float:
    """Return the least leak of a training of some length that is as useful.

    Args:
        line: encoders of growing length, the untrained one first and the whole training last; between two of them
            utility and leak change together, in a straight line.
        utility: that is asked for.
        also: further encoders that cost nothing, each by itself.

    Returns:
        The leak; where none is as useful, that of the most useful one.
    """
    steps = np.linspace(0, 1, SEGMENT + 1)
    useful = [one.utility + steps * (two.utility - one.utility) for one, two in pairwise(line)]
    leak = [one.leak + steps * (two.leak - one.leak) for one, two in pairwise(line)]
    useful = np.concatenate([*useful, [one.utility for one in also]])
    leak = np.concatenate([*leak, [one.leak for one in also]])
    enough = useful >= min(utility, float(useful.max())) - 1e-12
    return float(leak[enough].min())


def area(line: Sequence[At], defended: Sequence[At], also: Sequence[At] = ()) -> float:
    """Return the area between the free line and a defence's curve, by the width of the curve in utility.

    Args:
        line: as of `free_leak`.
        defended: the defence at the values of its knob.
        also: as of `free_leak`.

    Returns:
        How much less the defence leaks on average at the same utility; below 0: how much more.
    """
    there = sorted(defended, key=lambda one: one.utility)
    gaps = np.array([free_leak(line, one.utility, also) - one.leak for one in there])
    useful = np.array([one.utility for one in there])
    width = float(useful[-1] - useful[0])
    if width < SAME_UTILITY:
        return float(gaps.mean())
    return float(np.trapezoid(gaps, useful) / width)


def over_seeds(values: Mapping[tuple[str, str], Sequence[float]]) -> Estimate | None:
    """Return the mean over cells with Student's 95 % interval from the deviation of the seeds within them.

    Args:
        values: the areas of one defence by data set and framework, an area for each seed.

    Returns:
        The estimate, for these cells and further seeds; None where no cell has two seeds, or fewer than two cells do.
    """
    cells = [np.array(one) for one in values.values() if len(one)]
    freedom = sum(len(one) - 1 for one in cells)
    if freedom < 2:
        return None
    mean = float(np.mean([one.mean() for one in cells]))
    within = sum(float(((one - one.mean()) ** 2).sum()) for one in cells) / freedom
    error = math.sqrt(within * sum(1 / len(one) for one in cells)) / len(cells)
    reach = float(student.ppf(1 - ALPHA / 2, freedom)) * error
    return Estimate(mean, mean - reach, mean + reach)


def verdict(found: Estimate | None) -> str:
    """Say whether a defence beats training less."""
    if found is None or found.low <= 0 <= found.high:
        return "undecided at this size"
    return "beats early stopping" if found.low > 0 else "does not beat early stopping"

"""How right the calls at a given threshold are: balanced accuracy and precision, each with its 95 % interval."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from lpla.metrics.intervals import clopper_pearson, wilson
from lpla.metrics.roc import Estimate, sides


def balanced_accuracy(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], threshold: float) -> Estimate:
    """Average both rates of right calls, of members and of non-members.

    The interval joins Wilson's intervals of the two independent rates (the square-and-add method for a sum: Newcombe
    1998, method 10; Zou & Donner 2008). The threshold was learnt elsewhere, so it is taken as given.

    Args:
        score: One score per image, higher = member.
        member: Who was inside the target.
        threshold: Images at or above it are called members.

    Returns:
        The mean of the two rates with its interval.
    """
    inside, outside = sides(score, member)
    rates = np.array([np.mean(inside >= threshold), np.mean(outside < threshold)])
    low, high = wilson(rates, np.array([len(inside), len(outside)]))
    value = float(rates.mean())
    down, up = (float(np.sqrt(((rates - end) ** 2).sum())) / 2 for end in (low, high))
    return Estimate(value, max(value - down, 0.0), min(value + up, 1.0))


def precision(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], threshold: float) -> Estimate | None:
    """Estimate the share of members among the images that are called members.

    It holds for the groups' own proportion of members, half in the balanced layout. The interval is Clopper and
    Pearson's, given how many images are called members.

    Args:
        score: One score per image, higher = member.
        member: Who was inside the target.
        threshold: Images at or above it are called members.

    Returns:
        The share with its interval; None: no image is called a member.
    """
    inside, outside = sides(score, member)
    right, wrong = int(np.sum(inside >= threshold)), int(np.sum(outside >= threshold))
    if not right + wrong:
        return None
    return Estimate(right / (right + wrong), *clopper_pearson(right, right + wrong))

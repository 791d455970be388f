"""Which images an attacker can name as members and be right, by a threshold that the target had no part in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import betaincinv, expit, logit

from lpla.metrics.intervals import clopper_pearson
from lpla.metrics.roc import Estimate, sides

PRECISION = 0.9
"""Part of the named images that must be members."""
ALPHA = 0.05


@dataclass(frozen=True)
class Exposed:
    """How many images of the target lie at or above a threshold that was learnt on the shadows."""

    prior: float
    """Part of the images in question that are members, for which the threshold was learnt."""
    threshold: float
    members: int
    nonmembers: int
    precision: Estimate | None
    """Among the judged images, in the proportion in which they were judged; None where none is named."""
    at_prior: float | None
    """What the precision is where a part `prior` are members, by the upper end (95 %) of the false-positive rate."""


def exposed(
    score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], threshold: float, prior: float, choices: int = 1
) -> Exposed:
    """Count the target's images that are named at a threshold.

    Args:
        score: One score per judged image of the target, higher = member.
        member: Whether the target was trained on it.
        threshold: Of `exposure_threshold`, learnt on the shadows under this `prior`. One that is learnt on the target
            itself finds exposed images in half of all audits without a leak.
        prior: Part of the images in question that are members.
        choices: Of so many scores these were chosen by what they found: each bound has its part of the 5 %.

    Returns:
        The counts, and the precision with its bounds.
    """
    inside, outside = sides(score, member)
    found, wrong = int((inside >= threshold).sum()), int((outside >= threshold).sum())
    share = found / len(inside)
    accused = float(betaincinv(wrong + 1, len(outside) - wrong, 1 - ALPHA / choices)) if wrong < len(outside) else 1.0
    if not (named := found + wrong):
        return Exposed(prior, threshold, 0, 0, None, None)
    precision = Estimate(found / named, *clopper_pearson(found, named, ALPHA / choices))
    return Exposed(prior, threshold, found, wrong, precision, prior * share / (prior * share + (1 - prior) * accused))


def exposure_threshold(
    score: Float[np.ndarray, " M"], member: Bool[np.ndarray, " M"], prior: float = 0.5, choices: int = 1
) -> float | None:
    """Find the lowest threshold at which nine in ten of the named images are members.

    Args:
        score: The shadows' left-out scores, higher = member.
        member: Whether each of these images was inside its shadow.
        prior: Part of the images in question that are members.
        choices: Of so many attacks and layers, each with a threshold of its own, the attacker keeps the best one: each
            has its part of the 5 % by which a bound may be wrong (Bonferroni).

    Returns:
        The lowest score whose precision has a lower bound (Clopper and Pearson, 95 %) of at least .9 at the prior:
        among the shadows' images odds of members are o, so among others, by Bayes' rule, o times the ratio of the prior
        odds. None where no threshold has: then no count is honest.
    """
    inside, outside = sides(score, member)
    places = np.unique(score)
    right, wrong = (len(part) - np.searchsorted(np.sort(part), places) for part in (inside, outside))
    low = betaincinv(np.maximum(right, 1), wrong + 1, ALPHA / choices)
    at_prior = expit(logit(low) + logit(prior) - logit(len(inside) / len(score)))
    honest = (at_prior >= PRECISION) & (right > 0)
    return float(places[np.argmax(honest)]) if honest.any() else None

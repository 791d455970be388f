"""Whether a whole folder was trained on: the mean score of a set of images against that of fair non-members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr
from scipy.stats import permutation_test

from lpla.contracts.result import InputError
from lpla.contracts.streams import stream
from lpla.metrics.evaluation import numbers
from lpla.metrics.roc import Estimate

PERMUTATIONS = 9_999
AT_ONCE = 2**22
"""Scores of permuted sets that are held in memory together."""
LEVEL = 0.05
QUANTILE = 1.6448536269514722
"""Standard errors of a one-sided test at `LEVEL`."""
IN_CACHE = 2**15
"""Numbers of resamples that are drawn at once."""
RESAMPLES = 2_000


@dataclass(frozen=True)
class FolderTest:
    """What the mean score of a set of images says of its having been trained on."""

    difference: float
    """Mean score of the set less that of the fair non-members, in the scores' own unit."""
    p: float
    """One-sided p-value of "none of them was trained on", times the scores among which these were chosen."""
    images: int
    nonmembers: int

    def __str__(self) -> str:
        said = "were trained on, some of them at least" if self.p < LEVEL else "show no sign of having been trained on"
        return f"The {self.images} images {said} (p = {self.p:.2g}, against {self.nonmembers} fair non-members)."


def folder_test(score: Any, fair: Any, seed: int = 0, choices: int = 1) -> FolderTest:
    """Test whether a set of images was trained on, by a permutation test of the mean score.

    Args:
        score: [n] scores of the images in question, higher = member.
        fair: [m] scores, by the same attack, of images known not to be members, of the same origin as those of the
            set: if they differ in anything but membership, that is what the test finds.
        seed: Of the permutations; where there are fewer than 9,999 in all, each is taken once and the test is exact.
        choices: Of so many attacks and layers these scores were chosen by what they found on the same images; the
            p-value is multiplied by it (Bonferroni).

    Returns:
        The p-value, the mean scores and a sentence.

    Raises:
        InputError: If one of the two holds less than two scores, or is no list of finite numbers.
    """
    score, fair = _scores(score, "score"), _scores(fair, "fair")
    if min(len(score), len(fair)) < 2:
        counts = f"{len(score)}, {len(fair)}: two of each at least"
        raise InputError(f"a folder test needs scores of the folder and of non-members, got {counts}")
    drawn = stream("folder permutations", seed)
    batch = max(1, AT_ONCE // (len(score) + len(fair)))
    found = permutation_test(
        (score, fair),
        _difference,
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=batch,
        alternative="greater",
        rng=drawn,
    )
    p = min(1.0, choices * float(found.pvalue))
    return FolderTest(float(found.statistic), p, len(score), len(fair))


def _scores(given: Any, name: str) -> Float[np.ndarray, " n"]:
    """One finite number for each image: a mean knows no infinite ones."""
    found = numbers(given, name)
    if found.ndim != 1:
        raise InputError(f"{name} must be a list of numbers, one for each image, got an array of shape {found.shape}")
    if infinite := int(np.isinf(found).sum()):
        raise InputError(f"{name} must hold finite numbers, of which a mean is taken, got {infinite} infinite ones")
    return found


def folder_power(
    member: Float[np.ndarray, " M"], nonmember: Float[np.ndarray, " N"], images: int, choices: int = 1, seed: int = 0
) -> Estimate:
    """Estimate how often `folder_test` would find a set of so many members, by the normal law of the permuted mean.

    Args:
        member: Scores of the audit's members.
        nonmember: Scores of its non-members.
        images: Size of the set, and of the fair non-members beside it.
        choices: Of so many attacks and layers these scores were chosen by what they found; the interval allows for it.
        seed: Of the 2,000 resamples of the audit's images.

    Returns:
        Part of such sets with p < .05, and the 95 % interval of a bootstrap over the audit's images: a difference that
        chance made grows with the size of the set as a leak does, so that without the interval it would be taken for
        one.
    """
    random = stream("folder power", seed)
    moments = [_moments(part, random) for part in (member, nonmember)]
    (of_members, spread), (of_others, other) = moments
    gap, squares = of_members - of_others, spread + other
    # The permuted sets hold both groups, whose distance adds to the deviation of their union.
    critical = QUANTILE * np.sqrt((2 * squares + gap**2) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        power = ndtr((gap * np.sqrt(images) - critical) / np.sqrt(squares))
    power = np.where(squares > 0, power, gap > 0)
    tail = LEVEL / 2 / choices
    low, high = np.quantile(power[1:], [tail, 1 - tail])
    return Estimate(float(power[0]), float(low), float(high))


def _moments(
    score: Float[np.ndarray, " n"], random: np.random.Generator
) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
    """Mean and variance of the scores, and then of their resamples."""
    size, found = len(score), [(score[None].mean(axis=1), score[None].var(axis=1, ddof=1))]
    left, most = RESAMPLES, max(1, IN_CACHE // len(score))
    while left:
        drawn = random.choice(score, (min(most, left), size))
        found.append((drawn.mean(axis=1), drawn.var(axis=1, ddof=1)))
        left -= len(drawn)
    means, variances = zip(*found, strict=True)
    return np.concatenate(means), np.concatenate(variances)


def _difference(
    one: Float[np.ndarray, "..."], other: Float[np.ndarray, "..."], axis: int = -1
) -> np.ndarray | np.floating:
    return one.mean(axis=axis) - other.mean(axis=axis)

"""Whether a whole folder was trained on: the mean score of a set of images against that of fair non-members."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import permutation_test

from lpla.contracts.result import InputError
from lpla.contracts.streams import stream
from lpla.metrics.evaluation import numbers

PERMUTATIONS = 9_999
AT_ONCE = 2**22
"""Scores of permuted sets that are held in memory together."""
LEVEL = 0.05


@dataclass(frozen=True)
class FolderTest:
    """What the mean score of a set of images says of its having been trained on."""

    difference: float
    """Mean score of the set less that of the fair non-members, in the scores' own unit."""
    p: float
    """One-sided p-value of "none of them was trained on"."""
    images: int
    nonmembers: int

    def __str__(self) -> str:
        said = "were trained on, some of them at least" if self.p < LEVEL else "show no sign of having been trained on"
        return f"The {self.images} images {said} (p = {self.p:.2g}, against {self.nonmembers} fair non-members)."


def folder_test(score: Any, fair: Any, seed: int = 0) -> FolderTest:
    """Test whether a set of images was trained on, by a permutation test of the mean score.

    Args:
        score: [n] scores of the images in question, higher = member.
        fair: [m] scores, by the same attack, of images known not to be members, of the same origin as those of the
            set: if they differ in anything but membership, that is what the test finds.
        seed: Of the permutations; where there are fewer than 9,999 in all, each is taken once and the test is exact.

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
    return FolderTest(float(found.statistic), float(found.pvalue), len(score), len(fair))


def _scores(given: Any, name: str) -> Float[np.ndarray, " n"]:
    """One finite number for each image: a mean knows no infinite ones."""
    found = numbers(given, name)
    if found.ndim != 1:
        raise InputError(f"{name} must be a list of numbers, one for each image, got an array of shape {found.shape}")
    if infinite := int(np.isinf(found).sum()):
        raise InputError(f"{name} must hold finite numbers, of which a mean is taken, got {infinite} infinite ones")
    return found


def folder_power(
    member: Float[np.ndarray, " M"], nonmember: Float[np.ndarray, " N"], images: int, seed: int = 0
) -> float:
    """Estimate how often `folder_test` would find a set of so many members, by sets drawn from an audit's scores.

    Args:
        member, nonmember: Scores of the audit's members and non-members, drawn from with replacement.
        images: Size of the set, and of the fair non-members beside it.
        seed: Of the 500 drawn sets.

    Returns:
        Part of the sets with p < .05, by the normal law of the permuted mean.
    """
    random = stream("folder power", seed)
    sets, fair = (random.choice(part, (500, images)) for part in (member, nonmember))
    together = np.concatenate([sets, fair], axis=1)
    error = together.std(axis=1, ddof=1) * np.sqrt(2 / images)
    return float((_difference(sets, fair, axis=1) > 1.6448536269514722 * error).mean())


def _difference(
    one: Float[np.ndarray, "..."], other: Float[np.ndarray, "..."], axis: int = -1
) -> np.ndarray | np.floating:
    return one.mean(axis=axis) - other.mean(axis=axis)

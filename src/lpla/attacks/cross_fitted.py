"""An attack that learns from the labels of the very images it judges: each is scored by a fit to the other folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Self

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import StratifiedKFold

from lpla.contracts.evidence import Attack, Labelled, Seen, Statistic
from lpla.contracts.inputs import InputError, UndefinedError

FOLDS = 5


class CrossFitted(Attack):
    """What an owner can do who knows who was inside, but has no shadow (ours).

    No label of an image reaches its own score. Every fold holds the same share of members, as a fit that lacks a member
    of the fold would otherwise call it the less a member. Scores of different folds are comparable as each is less the
    threshold of its fit.

    Args:
        attack: An attack before `fit`, which learns from one encoder; copies of it are fitted.
        seed: Of the folds.
    """

    threshold_ = 0.0
    shadow_scores_ = None

    def __init__(self, attack: Attack, seed: int) -> None:
        self._attack, self._seed = attack, seed

    def statistics(self) -> tuple[Statistic, ...]:
        """Name the statistics of the attack."""
        return self._attack.statistics()

    def looks_at_pixels(self) -> bool:
        """Return what the attack says."""
        return self._attack.looks_at_pixels()

    def takes_levels(self) -> bool:
        """Return what the attack says."""
        return self._attack.takes_levels()

    def joins_layers(self) -> bool:
        """Return what the attack says."""
        return self._attack.joins_layers()

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Fit one attack for each fold of the images; `shadows` is the target alone, with its labels."""
        (told,) = shadows
        self.check(shadows)
        self._index, self._fold = told.index, np.empty(len(told.index), dtype=int)
        self.attacks_: list[Attack] = []
        for fold, (rest, held) in enumerate(self._folds(told)):
            self._fold[held] = fold
            # As `foreign`, nothing is learnt of one image that could be compared with itself later.
            self.attacks_.append(deepcopy(self._attack).fit([replace(told.part(rest), foreign=True)]))
        return self

    def _folds(self, told: Labelled) -> Iterator[tuple[Int[np.ndarray, " r"], Int[np.ndarray, " h"]]]:
        """Yield, for every fold, the places of the images outside it and within."""
        return StratifiedKFold(FOLDS, shuffle=True, random_state=self._seed).split(told.member, told.member)

    def check(self, shadows: Sequence[Labelled]) -> None:
        """Raise InputError where a fold would lack members or non-members, or the attack refuses so few images."""
        (told,) = shadows
        fewest = min(int(told.member.sum()), int((~told.member).sum()))
        if fewest < FOLDS:
            raise InputError(
                f"knowledge.kind=labels needs at least {FOLDS} judged members and as many non-members, got {fewest}"
            )
        rest, _ = next(self._folds(told))
        self._attack.check([replace(told.part(rest), foreign=True)])

    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """Score every image by the attack that learnt from the folds in which the image is not; 0 is its threshold.

        Raises UndefinedError if these are not the images that it was fitted to.
        """
        if not np.array_equal(target.index, self._index):
            raise UndefinedError("knowledge.kind=labels judges the images whose labels it was told, got others")
        found = np.stack([attack.score(target) - attack.threshold_ for attack in self.attacks_])
        return found[self._fold, np.arange(len(self._fold))]

    def fit_summary(self) -> dict[str, str | int | float]:
        """Return the summary of the first fold's attack, as all folds take the same settings."""
        found: dict[str, str | int | float] = {"folds": FOLDS}
        return found | {k: v for k, v in self.attacks_[0].fit_summary().items() if isinstance(v, str)}

    def warnings(self) -> list[str]:
        """Return the warnings of every fold's attack, each once."""
        return list(dict.fromkeys(one for attack in self.attacks_ for one in attack.warnings()))

"""Attacks that use one number per view (or per image): they share the way in which that number is judged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from typing import Self

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._no_shadow import NoShadow
from lpla.attacks.likelihood.calibrated import CALIBRATED, Calibrated
from lpla.attacks.likelihood.levels import explained
from lpla.attacks.likelihood.nonmembers import check_known
from lpla.attacks.likelihood.standardise import mean_of_views, standardise
from lpla.contracts.evidence import Attack, Labelled, Need, Seen
from lpla.contracts.streams import stream


class ScalarAttack(Attack):
    """An attack is `scalars` (which number) and a calibration (how it is compared with the shadows')."""

    NEEDS = ("shadows or labels",)
    calibrated: Calibrated
    no_shadow: NoShadow | None = None
    """What it does without shadows, if anything."""
    learnt_: Calibrated | NoShadow
    """The one of the two that learnt last."""

    @abstractmethod
    def scalars(self, seen: Seen) -> Float[np.ndarray, "N Q"]:
        """The number per view, or one column where it belongs to the image; not finite where it is unknown."""

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """What `scalars` itself must learn from the shadows; nothing, unless overridden."""

    def check(self, shadows: Sequence[Labelled]) -> None:
        """Fit the calibration to noise in place of scalars: it raises what the memberships alone forbid."""
        random = stream("noise in place of scalars", 0)
        deepcopy(self.calibrated).fit(shadows, [random.normal(size=(len(one.index), 2)) for one in shadows])

    def check_nonmembers(self, images: int) -> None:
        """Raise InputError where one in 20 of the images is none."""
        if self.no_shadow is not None:
            check_known(images)

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Learn the likelihoods and the threshold."""
        if shadows:
            self.learn(shadows)
        self.learnt_ = self.calibrated.fit(shadows, [self._judged(shadow) for shadow in shadows])
        self.threshold_, self.shadow_scores_ = self.calibrated.threshold_, self.calibrated.shadow_scores_
        return self

    def fit_nonmembers(self, known: Seen) -> Self:
        """Learn what is ordinary, and the threshold, from the target's scalars of known non-members."""
        if self.no_shadow is None:
            return super().fit_nonmembers(known)
        self.learnt_ = self.no_shadow.fit(known, self.scalars(known))
        self.threshold_, self.shadow_scores_ = self.learnt_.threshold_, None
        return self

    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """The target's scalars, judged by what the shadows or the known non-members taught."""
        return self.learnt_.score(target, self._judged(target))

    def needs(self) -> tuple[Need, ...]:
        """`NEEDS` by default; what it learns from is as the likelihood has it, which may need shadows."""
        learnt, *more = self.NEEDS
        if self.calibrated.compares_images():
            learnt = "shadows" if self.no_shadow is None else "shadows or known non-members"
        elif learnt == "shadows":
            learnt = "shadows or labels"
        return (learnt, *more)

    def takes_levels(self) -> bool:
        """All that ask an encoder do."""
        return bool(self.statistics())

    def _judged(self, seen: Seen) -> Float[np.ndarray, "N Q"]:
        """The scalars, less each image's level where shadows beside them tell it; those on one scale are so already."""
        raw = self.scalars(seen)
        if not seen.beside or not self.takes_levels() or self.calibrated.on_one_scale:
            return raw
        u, others = standardise(raw), [standardise(self.scalars(one)) for one in seen.beside]
        means = np.stack([mean_of_views(one)[:, None] for one in others])
        inside = np.stack([one.member for one in seen.beside])
        return u - explained(mean_of_views(u)[:, None], means, inside)

    def scores_log_ratio(self) -> bool:
        """What the calibration says; an attacker without shadows has no such ratio."""
        return isinstance(self.learnt_, Calibrated) and self.learnt_.likelihood_ in CALIBRATED

    def fit_summary(self) -> dict[str, str | int | float]:
        """The summary of whichever model learnt."""
        return self.learnt_.fit_summary()

    def warnings(self) -> list[str]:
        """The warnings of whichever model learnt."""
        return self.learnt_.warnings()

"""Every attack, as it is configured, behaves as `lpla.check_attack` says; and that function finds every fault.

An attack joins by its yaml. One whose statistic is made of a backbone's map has no vectors to be given here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

import lpla
from lpla.attacks.attack.partcrop import PartCrop
from lpla.attacks.check import IMAGES, SHADOWS, CheckError, check_attack
from lpla.attacks.cross_fitted import CrossFitted
from lpla.attacks.planted import answers, given, layout, pixels_of
from lpla.contracts.evidence import Attack, Labelled, NotFittedError, Query, Seen, ShadowScores, Statistic
from lpla.contracts.inputs import UndefinedError, Views
from lpla.extraction.statistic.log_norm import LogNorm

CONF = Path(__file__).parents[2] / "conf"
QUERIES = 4


def configured(name: str, queries: int) -> Attack:
    """With the budget, where the attack has to know it."""
    attack = lpla.attack(name)
    return lpla.attack(name, queries=queries) if hasattr(attack, "queries") else attack


def asks_for_positions(name: str) -> bool:
    """Whether it looks at a backbone's map; such an attack is tested with its statistic."""
    return any(one.query(Query(Views(), QUERIES, 0), 32).positions for one in lpla.attack(name).statistics())


ATTACKS = [file.stem for file in sorted((CONF / "attack").glob("*.yaml")) if file.stem != "all"]
NAMES = [name for name in ATTACKS if not asks_for_positions(name)]


@pytest.mark.parametrize("queries", [QUERIES, 1])
@pytest.mark.parametrize("name", NAMES)
def test_it_behaves(name: str, queries: int) -> None:
    lpla.check_attack(configured(name, queries), queries=queries)


@pytest.mark.parametrize("name", NAMES)
def test_it_makes_use_of_levels_exactly_if_it_says_so(name: str) -> None:
    """By labels, with and without shadows beside the target: what an attack does not use, a note of its row says."""
    inside = layout(0, 4, 200)
    attack = CrossFitted(configured(name, QUERIES), seed=0)
    embedded = answers(1, inside, QUERIES, length=0.4, steady=0.4)
    target, shadows, member = given(attack, embedded, inside, pixels_of(2, 200))
    scores = []
    try:
        for seen in (target, replace(target, beside=tuple(shadows))):
            told = Labelled(seen.index, seen.values, member, pixels=seen.pixels, beside=seen.beside)
            scores.append(attack.fit([told]).score(seen))
    except UndefinedError:
        assert "shadows" in lpla.attack(name).needs()  # of encoders that are compared: there is no row of it by labels
        return
    assert np.array_equal(*scores) != attack.takes_levels()


@pytest.mark.parametrize("name", ATTACKS)
def test_before_it_has_learnt_it_says_so(name: str) -> None:
    with pytest.raises(NotFittedError, match="must learn by fit, or by fit_nonmembers, before score, got neither"):
        lpla.attack(name).score(Seen(np.arange(4), {}))


@pytest.mark.wrong_types
def test_what_was_seen_has_a_row_for_every_image() -> None:
    index, rows = np.arange(4), np.zeros((4, 2))
    for wrong, said in (({"a": rows[:3]}, r"values\['a'\]"), ({"a": rows, "b": np.zeros(5)}, r"values\['b'\]")):
        with pytest.raises(lpla.InputError, match=f"^{said} must have a row for each of the 4 images, got [35] rows$"):
            Seen(index, wrong)
    with pytest.raises(lpla.InputError, match=r"^pixels must have a row"):
        Seen(index, {"a": rows}, pixels=np.zeros((3, 1, 2, 2), dtype=np.uint8))
    with pytest.raises(lpla.InputError, match=r"^member must have a row for each of the 4 images, got 2 rows$"):
        Labelled(index, {"a": rows}, np.array([True, False]))
    assert Labelled(index, {}, np.ones(4, dtype=bool)).member.all()


def test_a_map_of_positions_is_nothing_that_can_be_made_up() -> None:
    with pytest.raises(UndefinedError, match="PartCrop needs a map of positions"):
        check_attack(lpla.attack("partcrop"))
    assert isinstance(lpla.attack("partcrop"), PartCrop)


class Honest(Attack):
    """The mean length of an image's usable views, longer = member: all that a sound attack needs, for these tests."""

    def statistics(self) -> tuple[Statistic, ...]:
        return (LogNorm([2.0]),)

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        score = np.concatenate([self.means(one) for one in shadows])
        member = np.concatenate([one.member for one in shadows])
        self.threshold_ = float((score[member].mean() + score[~member].mean()) / 2)
        self.shadow_scores_ = ShadowScores(score, member)
        return self

    def score(self, target: Seen) -> np.ndarray:
        return self.means(target)

    def means(self, seen: Seen) -> np.ndarray:
        values = np.asarray(seen.values[LogNorm.name][..., 0], dtype=float)
        usable = np.isfinite(values)
        return np.where(usable, values, 0).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)


def test_a_sound_attack_passes_and_is_left_as_it_was() -> None:
    attack = Honest()
    assert check_attack(attack) is None and vars(attack) == {}


class Twice(Honest):
    def statistics(self) -> tuple[Statistic, ...]:
        return (LogNorm([2.0]), LogNorm([1.0]))


class Listed(Honest):
    def statistics(self) -> Any:
        return [LogNorm([2.0])]


class Blind(Honest):
    def score(self, target: Seen) -> np.ndarray:
        return np.sin(np.arange(len(target.index), dtype=float))


class Clairvoyant(Honest):
    """Knows who was a member in the setting without a leak."""

    def score(self, target: Seen) -> np.ndarray:
        return super().score(target) + 0.3 * layout(1, SHADOWS, IMAGES)[0]


class Peeking(Honest):
    def score(self, target: Seen) -> np.ndarray:
        return super().score(target) + (target.member if isinstance(target, Labelled) else 0.0)


class Learning(Honest):
    def score(self, target: Seen) -> np.ndarray:
        found = super().score(target)
        self.threshold_ += 1.0
        return found


class Random(Honest):
    def score(self, target: Seen) -> np.ndarray:
        return super().score(target) + 1e-9 * np.random.default_rng().normal(size=len(target.index))


class Remembering(Honest):
    fits = 0

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        self.fits += 1
        return super().fit(shadows)

    def score(self, target: Seen) -> np.ndarray:
        return super().score(target) * self.fits


class Careless(Honest):
    def means(self, seen: Seen) -> np.ndarray:
        return np.asarray(seen.values[LogNorm.name][..., 0], dtype=float).mean(axis=1)

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        super().fit(shadows)
        self.threshold_, self.shadow_scores_ = 0.0, None
        return self


class Tall(Honest):
    def score(self, target: Seen) -> np.ndarray:
        return super().score(target)[:, None]


class Sorting(Honest):
    def score(self, target: Seen) -> np.ndarray:
        found = super().score(target)
        target.values[LogNorm.name].sort(axis=0)
        return found


class Shuffling(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        super().fit(shadows)
        shadows[0].member[:] = True
        return self


class Silent(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Any:
        super().fit(shadows)


class Unsure(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        super().fit(shadows)
        self.threshold_ = float("nan")
        return self


class Keeping(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        super().fit(shadows)
        del self.shadow_scores_
        return self


class Halved(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        super().fit(shadows)
        assert self.shadow_scores_ is not None
        self.shadow_scores_ = ShadowScores(self.shadow_scores_.score[::2], self.shadow_scores_.member)
        return self


class Reversed(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        super().fit(shadows)
        assert self.shadow_scores_ is not None
        self.shadow_scores_ = ShadowScores(-self.shadow_scores_.score, self.shadow_scores_.member)
        return self


class Beyond(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        super().fit(shadows)
        self.threshold_ = 1e9
        return self


class Undefined(Honest):
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        raise UndefinedError("it never exists")


class Stranger:
    def statistics(self) -> tuple[Statistic, ...]:
        return ()


class Eager(Honest):
    """Says that it has learnt what it has not."""

    _learnt = True

    def score(self, target: Seen) -> np.ndarray:
        return super().score(target) - self.threshold_


FAULTS: dict[Callable[[], Any], str] = {
    Stranger: "Stranger must derive from lpla.Attack",
    Listed: "Listed.statistics must return a tuple of statistics",
    Twice: "Twice.statistics must return one statistic of a name",
    Undefined: "Undefined is undefined with 4 views of each image: it never exists",
    Silent: "Silent.fit must return the attack itself, got NoneType",
    Tall: r"Tall must score every image with one number, \[600\], got shape \(600, 1\)",
    Blind: "Blind must find a planted leak",
    Unsure: "Unsure.fit must learn threshold_, a finite number, got nan",
    Keeping: "Keeping.fit must set shadow_scores_",
    Halved: "Halved.shadow_scores_ must be a finite score and a label for each image",
    Reversed: "Reversed.shadow_scores_ must tell the shadows' members",
    Beyond: "Beyond.threshold_ must call more of the shadows' members",
    Peeking: "Peeking.score must not use labels of the target",
    Learning: "Learning.score must leave threshold_ as the shadows made it",
    Sorting: "Sorting.score must leave the arrays that it is given as they are",
    Shuffling: "Shuffling.fit must leave the arrays that it is given as they are",
    Clairvoyant: "Clairvoyant must find no leak where none is planted",
    Random: "Random must give the same scores to the same input",
    Remembering: "Remembering.fit must forget an earlier fit",
    Eager: "Eager.score must raise NotFittedError before fit, got AttributeError",
    Careless: "Careless, where some embeddings are zero or not finite, must score every image with a finite number",
}


@pytest.mark.wrong_types
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_found_and_said(fault: Callable[[], Any]) -> None:
    with pytest.raises(CheckError, match=f"^{FAULTS[fault]}"):
        check_attack(fault())

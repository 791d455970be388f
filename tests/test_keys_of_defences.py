"""Keys of encoders behind a defence: it is where its effect is, in the training, the release or both."""

from dataclasses import replace

import pytest
from tiny_audit import changed, tiny_settings
from torch import Tensor

from lpla.auditing.plan import plan
from lpla.contracts.defense import Asked, Defense
from lpla.contracts.inputs import Views
from lpla.encoders.arch import simclr
from lpla.store.artifacts import key_of
from lpla.work import keys
from lpla.work.recipe import Unit


@pytest.fixture(scope="module")
def unit() -> Unit:
    """The tiny audit's target."""
    return plan(tiny_settings()).units[0]


def encoder_key(unit: Unit) -> str:
    return key_of(unit.encoder_parts)


def statistic_key(unit: Unit) -> str:
    pool = unit.observations[0]
    return key_of(unit.statistic_parts(pool, pool.statistics[0]))


class Stronger(Defense):
    """Trains on stronger views."""

    def __init__(self, *, flip: float = 0.5) -> None:
        self.flip = flip

    def train_views(self, views: Views) -> Views:
        """Flipped more often."""
        return replace(views, flip=self.flip)


class SameViews(Defense):
    """Trains in another way, of which nothing is seen in the views."""

    def train_views(self, views: Views) -> Views:
        """As they are."""
        return views


class Scaled(Defense):
    """Releases embeddings scaled."""

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale

    def release(self, embedding: Tensor, asked: Asked) -> Tensor:
        """Scaled."""
        return embedding * self.scale


class Both(Scaled, Stronger):
    """Does both."""

    release_arguments = frozenset({"scale"})

    def __init__(self, *, scale: float, flip: float) -> None:
        self.scale, self.flip = scale, flip


def keys_of(unit: Unit, kind: str, **arguments: float) -> tuple[str, str]:
    target = kind if "." in kind else f"{__name__}.{kind}"
    defended = changed(unit, defense={"_target_": target, **arguments})
    return encoder_key(defended), statistic_key(defended)


def test_no_defence_is_in_no_key(unit: Unit) -> None:
    none = keys_of(unit, "lpla.encoders.defense.none.Identity")
    assert none == (encoder_key(unit), statistic_key(unit))
    assert none == keys_of(unit, "lpla.contracts.defense.Defense")


def test_a_defence_of_the_release_shares_the_encoder(unit: Unit) -> None:
    none, scaled = keys_of(unit, "lpla.contracts.defense.Defense"), keys_of(unit, "Scaled")
    assert scaled[0] == none[0] and scaled[1] != none[1]
    other = keys_of(unit, "Scaled", scale=2.0)
    assert other[0] == none[0] and other[1] not in (none[1], scaled[1])


@pytest.mark.parametrize("kind", ["Stronger", "SameViews"])
def test_a_defence_of_the_training_does_not_share_the_encoder(unit: Unit, kind: str) -> None:
    none, trained = keys_of(unit, "lpla.contracts.defense.Defense"), keys_of(unit, kind)
    assert trained[0] != none[0] and trained[1] != none[1]


def test_a_defence_of_both_shares_the_encoder_where_its_release_alone_differs(unit: Unit) -> None:
    one, louder, other = (
        keys_of(unit, "Both", scale=scale, flip=flip) for scale, flip in ((1, 0.5), (2, 0.5), (1, 0.6))
    )
    assert one[0] == louder[0] != other[0]
    assert len({one[1], louder[1], other[1]}) == 3


@pytest.mark.parametrize("kind", ["Stronger", "Scaled"])
def test_a_defences_version_is_where_its_effect_is(unit: Unit, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys_of(unit, kind)
    monkeypatch.setattr(globals()[kind], "version", 2)
    after = keys_of(unit, kind)
    assert (before[0] == after[0]) == (kind == "Scaled") and before[1] != after[1]


HOOKS = {"train_views", "prepare", "batches", "loss", "gradients", "score", "stops"}
"""Hooks of training; with `fit` and `release`, and with those that only say something, these are all."""


def test_every_hook_is_in_the_key_of_what_it_changes_and_in_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {"fit", "release", "check", "check_widths", "privacy"}
    assert {name for name, one in vars(Defense).items() if callable(one)} == HOOKS | rest
    for hook in HOOKS | rest:
        kind = type("Alone", (Defense,), {hook: lambda *_: None, "__module__": __name__})
        monkeypatch.setitem(globals(), "Alone", kind)
        config = {"_target_": f"{__name__}.Alone"}
        assert (keys.trained_defense(config) is not None) == (hook in HOOKS), hook
        assert (keys.released_defense(config) is not None) == (hook in ("fit", "release")), hook


def test_plug_ins_that_share_a_module_do_not_share_a_name() -> None:
    assert keys.name_of(Stronger) == f"{__name__.rpartition('.')[2]}.Stronger" != keys.name_of(SameViews)
    assert keys.name_of(simclr.SimCLR) == "simclr"

"""The estimate before training: from timed steps and views, never where nothing is trained, never a job's end."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_audit import TINY, Ran, Silent, source_of

from lpla.auditing.dearest import duration
from lpla.auditing.plan import Plan
from lpla.store.artifacts import Store
from lpla.work import rehearsal
from lpla.work.executor.serial import Serial
from lpla.work.recipe import Unit
from lpla.work.rehearsal import seconds_per_epoch, seconds_to_train, views_per_second
from lpla.work.trained import Trained
from lpla.work.unit import make, trained, views_to_observe

Cli = Callable[..., Ran]
FEW = ("knowledge.kind=known_nonmembers", "knowledge.images=20")


def test_steps_and_views_of_a_throwaway_encoder_are_timed_and_nothing_is_kept(
    tiny: Callable[..., Plan], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    unit = tiny().units[0]
    assert 0 < seconds_per_epoch(source_of(unit)) < 60 and 1 < views_per_second(unit, store) < 1e7
    assert list(store.artifacts()) == [] and list((tmp_path / "unfinished").iterdir()) == []


def test_views_are_those_that_the_store_lacks(tiny: Callable[..., Plan], tmp_path: Path, silent: Silent) -> None:
    unit, store = tiny("observe.every=1").units[0], Store(tmp_path)
    assert views_to_observe(unit, store) == sum(len(o.index) * o.query.queries for o in unit.observations) > 0
    make(unit, store, silent)
    assert views_to_observe(unit, store) == 0


def test_time_is_that_of_training_and_of_observing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "seconds_per_epoch", lambda unit: 50.0)
    monkeypatch.setattr(rehearsal, "views_per_second", lambda unit, store: 2.0)
    ran = cli(*TINY, *FEW)
    views = views_said(ran)
    # A target with 2 epochs, and its untrained likeness, which is observed alone.
    assert ran.code == 0 and f"1 of 1 encoders to train, about {duration(100 + views / 2)} one by one" in ran.out


def test_each_kind_of_encoder_takes_its_own_time_and_is_timed_once(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[Trained] = []
    monkeypatch.setattr(rehearsal, "seconds_per_epoch", lambda one: timed.append(one) or 10.0 ** len(timed))
    plain, heavier = (trained(tiny(*told).units) for told in ((), ("defense=weight_decay", "epochs=3")))
    # Two epochs of ten seconds each, and three of a hundred.
    assert seconds_to_train([*plain, *heavier]) == 5 * 2 * 10 + 5 * 3 * 100 and len(timed) == 2


def views_said(ran: Ran) -> int:
    line = next(line for line in ran.out.splitlines() if "encoders to train" in line)
    return int(line.split(" views to observe")[0].split()[-1])


def test_an_estimate_that_fails_costs_the_job_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(unit: Unit, store: Store) -> float:
        raise MemoryError("no room for two")

    monkeypatch.setattr(rehearsal, "views_per_second", fail)
    ran = cli(*TINY, *FEW)
    assert ran.code == 0 and "views to observe; how long is not known: no room for two" in ran.out


class Elsewhere(Serial):
    """An executor whose workers are on other machines, as far as the audit knows."""

    elsewhere = True


def test_what_others_train_is_not_tried_here(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "seconds_per_epoch", lambda _: pytest.fail("trained in the submitting process"))
    ran = cli(*TINY, *FEW, f"executor._target_={__name__}.Elsewhere")
    assert ran.code == 0 and "1 of 1 encoders to train, " in ran.out and "about" not in ran.out

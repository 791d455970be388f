"""What a job costs is counted before anything is trained, and a job dearer than its limits is refused."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_audit import TINY, Ran, source_of
from torch import Tensor, nn

from lpla.attacks.attack.lpla import LpLA
from lpla.auditing import price, refits
from lpla.auditing.dearest import dearest
from lpla.auditing.plan import Plan
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import Views
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.statistic.whitened import Direction, Whitened
from lpla.work import footprint, rehearsal
from lpla.work.executor.serial import Serial
from lpla.work.footprint import count, values_of

Cli = Callable[..., Ran]


class Elsewhere(Serial):
    """An executor whose workers are on other machines, as far as the audit knows."""

    elsewhere = True


DEAR = {
    "epochs=1000000000": "epochs=1000000000 makes this job .* need 13,888.9 hours .* limits.hours is 8; .*=13889, or",
    "shadows=2000 epochs=200 limits.hours=1": "shadows=2000 makes this job .2001 trainings. need .* limits.hours is 1;",
    "queries=10000000": "queries=10000000 makes this job .* of memory for extraction, of which this machine allows",
    "backbone.width=64": "backbone.width=64 makes this job .* of memory for training, of which this machine allows",
    "arch.hidden_dim=1000000 arch.output_dim=1000000": "arch.output_dim=1000000 makes .* memory for training",
    "limits.hours=0.001": "(train|observe|members|epochs|shadows|dataset).* hours .* limits.hours is 0.001;",
    "limits.memory_gb=0.001": "of memory for training, of which limits.memory_gb allows 1.0 MiB; .*limits.memory_gb=1,",
    "limits.memory_gb=0.001 executor._target_=test_price.Elsewhere": "memory for training, of which limits.memory_gb",
    "epochs=1000000000 executor._target_=test_price.Elsewhere": "need 13,888.9 hours .at the least.",
}


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("given", DEAR)
def test_what_is_too_dear_is_refused_before_any_step_or_view(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    for name in ("seconds_per_epoch", "views_per_second"):
        monkeypatch.setattr(rehearsal, name, lambda *_: pytest.fail("looked at a network that is too dear"))
    ran = cli(*TINY, *given.split())
    (line,) = [line for line in ran.out.splitlines() if line.startswith("error: ")]
    assert ran.code == 1 and re.search(DEAR[given], line), line
    assert not list((ran.folder.parents[1] / "store").rglob("*.safetensors"))


def test_many_refits_are_priced_though_all_encoders_are_there(
    cli: Cli, tiny_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refits, "seconds_of_fit", lambda *_: 0.1)
    ran = cli(*TINY, tiny_store, "permutations=1000000")
    wanted = (
        r"error: permutations=1000000 makes this job .2,000,0\d\d fits of attacks. need 55\.\d hours .by timed fits."
    )
    assert ran.code == 1 and re.search(wanted, ran.out), ran.out
    ran = cli(*TINY, tiny_store, "attack=all", "attack.refits=100000")
    assert ran.code == 1 and "error: attack.refits=100000 makes this job (" in ran.out


def test_fits_are_counted_by_hand_and_a_few_are_not_timed(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three permuted memberships, the target itself and four shadows in its place, or none; at two layers.
    assert dict(refits.refits(tiny())) == {"lpla": 2 * (3 + 1 + 4)}
    assert dict(refits.refits(tiny("targets=one"))) == {"lpla": 2 * (3 + 1)}
    found = refits.refits(tiny("attack=all", "targets=one", "attack.refits=9"))
    assert found["bank"] == 3 * (3 + 1 + 9) and found["alignment"] == 2 * (3 + 1 + 9)
    many = tiny("attack=all", "targets=one", "attack.refits=99")
    paid = 99 * sum(len(many.alone(name).layers) for name in many.attacks)
    said = price._of_choice(many)
    assert (
        said == f", {paid:,} of them to correct the p-value for the choice among attacks (fewer with attack.refits=N)"
    )
    assert price._of_choice(tiny("attack=all", "targets=one", "attack.refits=2")) == price._of_choice(tiny()) == ""
    monkeypatch.setattr(refits, "seconds_of_fit", lambda *_: pytest.fail("timed"))
    assert refits.seconds_of_judging(tiny()) == 0


def test_one_fit_is_timed_at_the_audits_own_size(tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    plan, shapes = tiny("permutations=500", "shadows=4"), []
    fit = LpLA.fit

    def seen(self: LpLA, shadows: Any) -> Any:
        shapes.append((len(shadows), len(shadows[0].index)))
        return fit(self, shadows)

    monkeypatch.setattr(LpLA, "fit", seen)
    assert 0 < refits.seconds_of_fit(plan, plan.attack) < 60 and shapes == [(4, len(plan.membership.index))]
    none = tiny("knowledge.kind=known_nonmembers", "knowledge.images=20")
    assert refits.seconds_of_fit(none, none.attack) == refits.QUICKEST


@pytest.mark.slow
@pytest.mark.parallel
def test_a_large_network_is_spoken_of_before_its_steps_are_timed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "seconds_per_epoch", lambda _: 36_000.0)
    ran = cli(*TINY, "arch.hidden_dim=1000000", "knowledge.kind=known_nonmembers", "knowledge.images=20")
    assert "a few steps of a network of 0.3 GiB are timed" in ran.out and ran.code == 1


def test_moving_the_weights_has_its_price(tiny: Callable[..., Plan]) -> None:
    source = source_of(tiny("epochs=1000").units[0])
    small = count(source)
    large = replace(small, weights=10**11)
    added = price._seconds(source, large, True) - price._seconds(source, small, True)
    assert added == pytest.approx(source.steps() * (5 * 10**11 / 5e11 - 5e-3))


def test_null_lifts_the_limits(tiny_settings: Any, tiny: Callable[..., Plan]) -> None:
    said: list[str] = []
    for hours, memory in (("null", "null"), ("0.001", "auto"), ("1", "0.001")):
        settings = tiny_settings(f"limits.hours={hours}", f"limits.memory_gb={memory}")
        one = price.Price(views=0, training=2**40, activations=0, extraction=0, judging=0, disk=0, networks={})

        def refuse(part: str, *_: str) -> None:
            said.append(part)

        price._check_hours(refuse, settings, 0.5, "")
        price._check_memory(refuse, settings, one, tiny(), here=False)
    assert said == ["hours", "training"]


def test_hours_by_timed_steps_are_refused_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "seconds_per_epoch", lambda _: 36_000.0)
    monkeypatch.setattr(rehearsal, "views_per_second", lambda *_: 1e9)
    ran = cli(*TINY, "knowledge.kind=known_nonmembers", "knowledge.images=20")
    assert ran.code == 1 and "need 20.0 hours (by a few timed steps), and limits.hours is 8" in ran.out


def test_what_the_store_has_costs_nothing(cli: Cli, tiny_store: str) -> None:
    ran = cli(*TINY, tiny_store, "limits.hours=1e-9", "limits.memory_gb=1e-9")
    assert ran.code == 0, ran.out


class Toy(nn.Module):
    """Two linear layers with a rectifier between: what autograd keeps of it is counted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False)

    def loss(self, views: Sequence[Tensor], progress: float) -> Tensor:
        return self.second(self.first(views[0]).relu()).sum()


@pytest.mark.wrong_types
def test_kept_bytes_and_operations_are_those_counted_by_hand() -> None:
    with torch.device("meta"):
        toy: Any = Toy()
        kept, operations = footprint._counted_loss(toy, [torch.empty(10, 4)])
    # The input and the rectified middle; both weights are the network's own.
    assert kept == 4 * 10 * (4 + 6) and operations == 2 * 10 * (4 * 6 + 6 * 3)


def test_kept_bytes_grow_with_the_batch_and_weights_are_those_of_the_built_network(tiny: Callable[..., Plan]) -> None:
    small, large = (count(source_of(tiny(f"train.batch_size={size}").units[0])) for size in (5, 20))
    built = source_of(tiny().units[0]).build()
    assert 3 < large.kept / small.kept < 5 and large.operations == pytest.approx(small.operations, rel=0.05)
    assert small.weights == sum(4 * one.numel() for one in built.state_dict().values())
    assert small.averages == 1 and dict(small.widths) == {"backbone": built.backbone.features, "projector": 8}


QUERY = Query(Views(), 10, 0)
STATISTICS: dict[str, tuple[Statistic, int]] = {
    "log_norm": (LogNorm((1, 2)), 20),
    "cosine": (Cosine(), 45),
    "whitened": (Whitened(2), 10 * len(Whitened(2).ridges) * 3),
    "direction": (Direction(), 4 * 32),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_a_statistic_is_as_large_as_it_comes_out(name: str) -> None:
    statistic, expected = STATISTICS[name]
    random = torch.randn(40, 10, 32, generator=torch.Generator().manual_seed(0))
    assert values_of(statistic, QUERY, 32) == statistic(random)[0].numel() == expected


def test_beyond_what_is_computed_a_statistic_grows_as_it_did(tiny: Callable[..., Plan]) -> None:
    many = Query(Views(), 1000, 0)
    assert values_of(LogNorm((1, 2)), many, 32) == 2000
    assert values_of(Cosine(), many, 32) == pytest.approx(1000 * 999 / 2, rel=0.1)
    assert values_of(Cosine(), QUERY, 32, prefix=1) == 0 and values_of(Cosine(), QUERY, 32, prefix=3) == 3


def test_the_setting_farthest_above_its_default_is_named(tiny_settings: Any) -> None:
    assert dearest(tiny_settings("shadows=40", "epochs=300", "seed=99999"), "hours") == "shadows=40"
    assert dearest(tiny_settings("train.batch_size=500", "epochs=10000"), "training") == "train.batch_size=500"
    assert dearest(tiny_settings("backbone.width=2.5"), "training") == "backbone.width=2.5"


class Watched(rehearsal.ShortClock):
    """Remembers the last of its kind."""

    last: "Watched"

    def __init__(self) -> None:
        super().__init__()
        Watched.last = self


@pytest.mark.parametrize(("seconds", "steps"), [(0, 1), (3600, rehearsal.PROBE_STEPS)])
def test_a_rehearsal_of_long_steps_ends_early(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, seconds: int, steps: int
) -> None:
    monkeypatch.setattr(rehearsal, "PROBE_SECONDS", seconds)
    monkeypatch.setattr(rehearsal, "ShortClock", Watched)
    rehearsal.seconds_per_epoch(source_of(tiny("epochs=9").units[0]))
    assert len(Watched.last.ticks) - 1 == steps

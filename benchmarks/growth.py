"""Seconds against members, shadows and queries, held against the smallest of each in proportion to the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.encoder import build, noise, settings_of, unit_of
from benchmarks.extraction import extract
from benchmarks.measure import Row, interleaved, seconds_of
from benchmarks.sizes import CPU, Audit
from lpla.store.artifacts import Store
from lpla.training.config import TrainConfig
from lpla.work.plug_in import plug_in
from lpla.work.recipe import Unit
from lpla.work.unit import make


class Silent:
    """Progress that nobody sees."""

    def begin(self, task: str, total: int) -> Callable[[int], None]:
        """A task that nobody sees."""
        return lambda _: None


def rows(audit: Audit, repeats: int) -> list[Row]:
    """Training for members and shadows, extraction for queries."""
    unit, repeats = _unit(audit), min(repeats, audit.repeats)
    settings = settings_of("backbone=resnet9")
    encoder, pixels = build(settings), noise(audit.growth_images)
    base = audit.growth_members
    queries = lambda q: extract([encoder], settings, pixels, replace(CPU, queries=q))  # noqa: E731
    trained_on = lambda k: replace(unit, source=replace(unit.source, members=tuple(k)))  # noqa: E731
    make_one = lambda m: _make([trained_on(range(m))])  # noqa: E731
    shadows = lambda s: _make([trained_on(range(k, k + base)) for k in range(s + 1)])  # noqa: E731
    make_one(base)
    queries(1)
    return [
        *_series("members", make_one, {base * k: k for k in (1, 2, 4)}, repeats),
        *_series("shadows", shadows, {k: k + 1 for k in (2, 4, 8)}, repeats),
        *_series("queries", queries, {k: k for k in (4, 8, 16)}, repeats),
    ]


def _series(name: str, work: Callable[[int], None], amounts: Mapping[int, int], repeats: int) -> list[Row]:
    """One row per value; `amounts` says how much work it is."""
    found = interleaved({str(k): partial(seconds_of, partial(work, k)) for k in amounts}, repeats)
    first, *others = amounts
    smallest = found[str(first)]
    rows = [Row("growth", f"{name} {first}", "s", smallest)]
    for k in others:
        more = amounts[k] / amounts[first]
        line = [seconds * more for seconds in smallest]
        rows.append(Row("growth", f"{name} {k}", "s", found[str(k)], None, line, "1 +- 0.1 x limit"))
    return rows


def _unit(audit: Audit) -> Unit:
    """The default encoder on the embedded data."""
    settings = settings_of("trainer=cpu")
    views = plug_in(settings["train_views"])
    regime = TrainConfig(audit.growth_epochs, audit.growth_members // 2, views, seed=0)
    return unit_of(settings, regime)


def _make(units: list[Unit]) -> None:
    """Train the units one after another, into a store that is thrown away."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for unit in units:
            make(unit, store, Silent())

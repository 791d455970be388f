"""What a grid of audits will take, before it is started: its jobs, the encoders that they share, the hours to train."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lpla.auditing.plan import plan
from lpla.auditing.settings import Settings, composed, jobs
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store, key_of
from lpla.work.rehearsal import seconds_to_train
from lpla.work.trained import Trained
from lpla.work.unit import trained

CONF = Path(__file__).parents[1] / "conf"
SAME_ENCODERS = ("attack", "experiment/contender", "jury", "p", "queries")
"""Axes along which a sweep trains nothing new."""


@dataclass(frozen=True)
class Ahead:
    """Encoders that a grid needs, those that its store lacks, the seconds to train these on one device, what fails."""

    needed: int
    missing: int
    seconds: float
    impossible: tuple[str, ...]
    """Sentences, each once."""


def look_ahead(sweeps: Iterable[Sequence[str]], say: Callable[[str], None]) -> Ahead:
    """Count the encoders of a grid, of which `sweeps` are the overrides, and time a few steps of each kind to train."""
    return look_ahead_of((job for overrides in sweeps for job in jobs(overrides)), say)


def look_ahead_of(some: Iterable[Sequence[str]], say: Callable[[str], None]) -> Ahead:
    """Count the encoders of some jobs, each by its overrides, as `look_ahead` does."""
    sources: dict[str, tuple[Trained, Store]] = {}
    impossible: dict[str, None] = {}
    for settings in _settings(some):
        try:
            for one in trained(plan(settings).units):
                sources[key_of(one.parts())] = one, Store(settings.config.store)
        except InputError as mistake:
            impossible[str(mistake)] = None
    missing = [one for one, store in sources.values() if not one.is_made(store)]
    seconds = seconds_to_train(missing, lambda one, epoch: say(f"{_name(one)}: {epoch:.3f} s per epoch"))
    return Ahead(len(sources), len(missing), seconds, tuple(impossible))


def _settings(some: Iterable[Sequence[str]]) -> Iterator[Settings]:
    """The settings of one job for every set of encoders."""
    distinct: dict[tuple[str, ...], Sequence[str]] = {}
    for job in some:
        kept = tuple(one for one in job if one.partition("=")[0] not in SAME_ENCODERS)
        distinct.setdefault(kept, job)
    return (composed([*job, "hydra.mode=RUN"]) for job in distinct.values())


def _name(source: Trained) -> str:
    arch, backbone, dataset = (
        one["_target_"].rpartition(".")[2] for one in (source.arch, source.backbone, source.dataset)
    )
    depth = source.backbone.get("depth", "")
    return f"{arch} with {backbone}{depth and f' {depth}'} on {len(source.members)} images of {dataset}"

"""The work unit: makes one encoder and the statistics asked of it, whatever of them the store lacks.

`python -m lpla.work.unit RECIPE.json STORE` does it from a recipe on disk; an audit does it in its own process.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lpla.contracts.evidence import Statistic
from lpla.contracts.inputs import UndefinedError
from lpla.encoders import ranks
from lpla.extraction.extraction import Extraction
from lpla.extraction.sent import Sent
from lpla.extraction.view_cache import ViewCache
from lpla.extraction.writer import Extracted
from lpla.store import provenance
from lpla.store.artifacts import Store, key_of
from lpla.training import signals
from lpla.work.axes import load_axes
from lpla.work.observed import observe_rest, save_observed
from lpla.work.progress import Progress
from lpla.work.recipe import ExtractionRequest, Unit
from lpla.work.trained import Trained

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnitReport:
    """What making a unit took."""

    trained: bool
    observed: int
    forwards: int
    seconds: float


def make(unit: Unit, store: Store, progress: Progress, views: ViewCache | None = None) -> UnitReport:
    """Train the encoder unless the store has it, and extract what it lacks.

    numpy's linear algebra has one thread meanwhile, as in a job.

    Args:
        unit: The encoder and what is asked of it.
        store: Where it is kept.
        progress: Shows what has been done.
        views: Views that other units of this process were shown, and will be; None: none are kept.

    Returns:
        What was made, and what was found.

    Raises:
        InputError: For a user's mistake.
    """
    start = time.monotonic()
    views = ViewCache(unit.cache_mb * 2**20, unit.source.compile_on_cuda) if views is None else views
    # Ranks make it together under the lock of the process that launched them.
    lock = nullcontext() if ranks.launched() else store.lock("encoders", unit.encoder_parts)
    with lock, store.scratch() as scratch, threadpool_limits(1, "blas"):
        pending = [(o, todo) for o in unit.observations if (todo := _missing(unit, o, store))]
        if unit.source.is_made(store) and not pending:
            return UnitReport(False, 0, 0, time.monotonic() - start)
        if unit.source.distributed and not ranks.launched():
            from lpla.work.launcher import launch

            report = launch(unit, store.root, scratch, progress.begin)
            return replace(UnitReport(**report), seconds=time.monotonic() - start)
        extractions = [
            extraction_of(unit, store, o, todo, progress, views, scratch / str(i))
            for i, (o, todo) in enumerate(pending)
        ]
        waiting = [(*one, extraction) for one, extraction in zip(pending, extractions, strict=True)]
        save = partial(save_observed, unit, store, waiting)
        encoder, anew = unit.source.make(unit.name, store, extractions, save, progress)
        observe_rest(encoder, unit, store, waiting)
    observed, forwards = sum(len(todo) for _, todo in pending), sum(one.forwards for one in extractions)
    return UnitReport(anew, observed, forwards, time.monotonic() - start)


def trained(units: Sequence[Unit]) -> list[Trained]:
    """Return the sources of the units whose encoder is trained here, a student's teacher before it."""
    sources = [unit.source for unit in units if isinstance(unit.source, Trained) and unit.source.regime.epochs]
    return [one for source in sources for one in (source.teacher(), source) if one is not None]


def to_train(units: Sequence[Unit], store: Store) -> list[Trained]:
    """Return the sources of the units whose encoder has yet to be trained.

    One that is there is trained again where an earlier epoch is asked for, as the store keeps the last weights alone.
    """
    again = [unit for unit in units if any(o.epoch is not None and _missing(unit, o, store) for o in unit.observations)]
    return [s for unit in units for s in trained([unit]) if unit in again or not s.is_made(store)]


def views_to_observe(unit: Unit, store: Store) -> int:
    """Return how many views the encoder is asked for until the store has every statistic asked of it."""
    return sum(len(o.index) * o.query.queries for o in unit.observations if _missing(unit, o, store))


def is_made(unit: Unit, store: Store) -> bool:
    """Return whether the store has the encoder and every statistic asked of it."""
    return unit.source.is_made(store) and not any(_missing(unit, one, store) for one in unit.observations)


def load_observed(unit: Unit, store: Store, observation: ExtractionRequest, layer: str) -> Extracted:
    """Load one layer of an observation, memory-mapped; raises FileNotFoundError if the unit was not made.

    Raises UndefinedError if one of the statistics does not exist at this layer.
    """
    values, counts = {}, {}
    for statistic in observation.statistics:
        if layer not in statistic.layers:
            where = f"layer={' or '.join(statistic.layers)}"
            raise UndefinedError(f"{statistic.name} exists at {where} alone, got {layer}")
        place = store.path("statistics", key_of(unit.statistic_parts(observation, statistic)))
        values[statistic.name] = np.load(place / f"{layer}.npy", mmap_mode="r", allow_pickle=False)
        counts = json.loads((place / "counts.json").read_text())
    return Extracted(values, counts["zero"][layer], counts["nonfinite"][layer])


def load_sent(unit: Unit, store: Store, observation: ExtractionRequest, statistic: Statistic) -> Sent:
    """Return what the encoder was given when a statistic was extracted, memory-mapped; errors as of `load_observed`."""
    place = store.path("statistics", key_of(unit.statistic_parts(observation, statistic)))
    return Sent.load(place)


def provenances(unit: Unit, store: Store) -> list[dict[str, Any]]:
    """What computed the encoder, if it was here, and each statistic asked of it; the unit must have been made."""
    places, trained_as = [], unit.source.trained_as(store)
    for one in unit.observations:
        places += [store.path("statistics", key_of(unit.statistic_parts(one, s))) for s in one.statistics]
    return [*([trained_as] if trained_as else []), *(provenance.read(place) for place in places)]


def _missing(unit: Unit, observation: ExtractionRequest, store: Store) -> list[Statistic]:
    return [s for s in observation.statistics if not store.find("statistics", unit.statistic_parts(observation, s))]


def extraction_of(
    unit: Unit,
    store: Store,
    observation: ExtractionRequest,
    todo: list[Statistic],
    progress: Progress,
    views: ViewCache,
    folder: Path,
) -> Extraction:
    """Return the extraction of the encoder for one request: the statistics `todo` of it, written to `folder`."""
    index = np.asarray(observation.index)
    advance = progress.begin(f"{unit.name}: {observation.query.queries} views of {len(index)} images", len(index))

    def step(images: int) -> None:
        advance(images)
        signals.check()

    return Extraction(
        unit.images.pixels,
        index,
        observation.query,
        todo,
        unit.release(),
        views,
        unit.batch_size,
        folder,
        step,
        observation.epoch,
        unit.precision == "bf16-mixed",
        unit.source.compile_on_cuda,
        load_axes(unit, store, observation, todo),
    )


def main() -> None:
    """Command line of one unit, or of one rank of it."""
    from torch.distributed import is_torchelastic_launched

    from lpla.work.progress import Bars
    from lpla.work.rank import joined

    parser = argparse.ArgumentParser(prog="python -m lpla.work.unit", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a unit written by an audit")
    parser.add_argument("store", type=Path, help="the store's folder")
    options = parser.parse_args()
    unit, store = Unit.load(options.recipe), Store(options.store)
    if is_torchelastic_launched():
        with joined(unit, options.recipe.parent) as reports:
            reports.end(asdict(make(unit, store, reports)))
    else:
        with signals.stoppable(), Bars() as bars:
            print(make(unit, store, bars))


if __name__ == "__main__":
    from torch.distributed.elastic.multiprocessing.errors import record

    record(main)()  # Its errors reach the launcher as a file.

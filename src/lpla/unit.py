"""The work unit: makes one encoder and the statistics asked of it, whatever of them the store lacks.

`python -m lpla.unit RECIPE.json STORE` does it from a recipe on disk; an audit runs the same units in its own process.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file, save_file

from lpla.contracts import Arch, UndefinedError
from lpla.kept_views import KeptViews
from lpla.observe import Extraction, Observed
from lpla.recipe import Config, Observation, Unit, build_arch, load_images, plug_in, statistic_of, trainer_factory
from lpla.store import Store, key_of
from lpla.train import train

log = logging.getLogger(__name__)

PROBE_STEPS = 8

Advance = Callable[[int], None]


class Progress(Protocol):
    """Where a unit reports how far it is."""

    def begin(self, task: str, total: int) -> Advance:
        """Announce a task of `total` steps; returns the function that advances it."""
        ...


@dataclass(frozen=True)
class Made:
    """What making a unit took."""

    trained: bool
    observed: int
    forwards: int
    seconds: float


class Clock(pl.Callback):
    """Notes when training started and when each step ended."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The first tick."""
        self.ticks.append(time.monotonic())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """One step more."""
        self.ticks.append(time.monotonic())


class Epochs(pl.Callback):
    """Advances a progress bar by one at the end of every epoch."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One epoch more."""
        self.advance(1)


def make(unit: Unit, store: Store, progress: Progress, views: KeptViews | None = None) -> Made:
    """Train the encoder unless the store has it, observe what it lacks; raises InputError for a user's mistake.

    `views` are those that other units of the same process were shown, and will be.
    """
    start = time.monotonic()
    views = KeptViews(unit.cache_mb * 2**20) if views is None else views
    with store.lock("encoders", unit.encoder_parts), store.scratch() as scratch:
        weights = store.find("encoders", unit.encoder_parts)
        pending = [(o, todo) for o in unit.observations if (todo := _missing(unit, o, store))]
        if weights and not pending:
            return Made(False, 0, 0, time.monotonic() - start)
        arch = build_arch(unit)
        extractions = [
            _extraction(unit, o, todo, progress, views, scratch / str(i)) for i, (o, todo) in enumerate(pending)
        ]
        # The store keeps an encoder's last weights; to see it in the midst of its training is to train it again.
        again = any(observation.epoch is not None for observation, _ in pending)
        if weights and not again:
            arch.load_state_dict(load_file(weights / "weights.safetensors"))
        else:
            _train(arch, unit, store, extractions, progress)
        for (observation, todo), extraction in zip(pending, extractions, strict=True):
            # Observed already when training ended; an encoder from the store is observed now.
            result = extraction.result or extraction.observe(arch, trainer_factory(unit)().strategy.root_device)
            for config in todo:
                _save_statistic(unit, store, observation, config, result, extraction)
    forwards = sum(e.forwards for e in extractions)
    return Made(again or not weights, sum(len(t) for _, t in pending), forwards, time.monotonic() - start)


def is_trained(unit: Unit, store: Store) -> bool:
    """Whether the store has the encoder's weights."""
    return store.find("encoders", unit.encoder_parts) is not None


def is_made(unit: Unit, store: Store) -> bool:
    """Whether the store has the encoder and every statistic asked of it."""
    return is_trained(unit, store) and not any(_missing(unit, one, store) for one in unit.observations)


def seconds_per_epoch(unit: Unit) -> float:
    """Measured on the first steps of a throwaway encoder, of which the earlier half (allocation) is left out."""
    index = np.asarray(unit.members)
    clock = Clock()
    factory = partial(trainer_factory(unit), max_steps=PROBE_STEPS)
    pixels = load_images(unit.dataset).pixels
    train(build_arch(unit), pixels, index, unit.regime, factory, [clock], unit.compile_on_cuda)
    steps = np.diff(clock.ticks)
    return float(np.median(steps[len(steps) // 2 :])) * (len(index) // unit.regime.batch_size)


def load_observed(unit: Unit, store: Store, observation: Observation, layer: str) -> Observed:
    """One layer of an observation, memory-mapped; raises FileNotFoundError if the unit was not made.

    Raises UndefinedError if one of the statistics does not exist at this layer.
    """
    values, counts = {}, {}
    for config in observation.statistics:
        statistic = statistic_of(config)
        if layer not in statistic.layers:
            where = f"layer={' or '.join(statistic.layers)}"
            raise UndefinedError(f"{statistic.name} exists at {where} alone, got {layer}")
        place = store.path("statistics", key_of(unit.statistic_parts(observation, config)))
        values[statistic.name] = np.load(place / f"{layer}.npy", mmap_mode="r", allow_pickle=False)
        counts = json.loads((place / "counts.json").read_text())
    return Observed(values, counts["zero"][layer], counts["nonfinite"][layer])


def _missing(unit: Unit, observation: Observation, store: Store) -> list[Config]:
    return [s for s in observation.statistics if not store.find("statistics", unit.statistic_parts(observation, s))]


def _extraction(
    unit: Unit, observation: Observation, todo: list[Config], progress: Progress, views: KeptViews, folder: Path
) -> Extraction:
    index = np.asarray(observation.index)
    return Extraction(
        load_images(unit.dataset).pixels,
        index,
        observation.query,
        [statistic_of(statistic) for statistic in todo],
        plug_in(unit.defense).release,
        views,
        unit.batch_size,
        folder,
        progress.begin(f"{unit.name}: {observation.query.queries} views of {len(index)} images", len(index)),
        observation.epoch,
    )


def _train(arch: Arch, unit: Unit, store: Store, extractions: list[Extraction], progress: Progress) -> None:
    _explain(unit, store)
    index = np.asarray(unit.members)
    pixels = load_images(unit.dataset).pixels
    epochs = Epochs(progress.begin(f"{unit.name}: training on {len(index)} images", unit.regime.epochs))
    start = time.monotonic()
    callbacks = [epochs, *extractions]
    losses = train(arch, pixels, index, unit.regime, trainer_factory(unit), callbacks, unit.compile_on_cuda)
    record = {"loss": losses, "seconds": time.monotonic() - start, "torch": torch.__version__}

    def write(folder: Path) -> None:
        save_file(
            {name: tensor.cpu().contiguous() for name, tensor in arch.state_dict().items()},
            folder / "weights.safetensors",
        )
        (folder / "training.json").write_text(json.dumps(record))

    store.put("encoders", unit.encoder_parts, write)


def _explain(unit: Unit, store: Store) -> None:
    differences = store.nearest("encoders", unit.encoder_parts)
    if differences:
        log.debug("%s is new: the most similar encoder in the store differs in %s", unit.name, "; ".join(differences))


def _save_statistic(
    unit: Unit,
    store: Store,
    observation: Observation,
    config: Config,
    result: dict[str, Observed],
    extraction: Extraction,
) -> None:
    name = statistic_of(config).name
    counts = {
        "forwards": extraction.forwards,
        "zero": {layer: observed.zero for layer, observed in result.items()},
        "nonfinite": {layer: observed.nonfinite for layer, observed in result.items()},
    }

    def write(folder: Path) -> None:
        for layer, observed in result.items():
            if name in observed.values:
                extraction.path(layer, name).replace(folder / f"{layer}.npy")
        (folder / "counts.json").write_text(json.dumps(counts))

    store.put("statistics", unit.statistic_parts(observation, config), write)


def main() -> None:
    """Command line of one unit."""
    from lpla.report.progress import Bars

    parser = argparse.ArgumentParser(prog="python -m lpla.unit", description=__doc__)
    parser.add_argument("recipe", type=Path, help="a unit written by an audit")
    parser.add_argument("store", type=Path, help="the store's folder")
    options = parser.parse_args()
    with Bars() as bars:
        print(make(Unit.load(options.recipe), Store(options.store), bars))


if __name__ == "__main__":
    main()

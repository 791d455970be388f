"""How fast encoders train, alone or side by side, measured before any of them is trained for good."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lpla.extraction.view_cache import ViewCache
from lpla.store.artifacts import Store
from lpla.training.callbacks import Clock
from lpla.training.config import TrainConfig
from lpla.training.pretraining import train
from lpla.work.footprint import kind_of
from lpla.work.progress import Unseen
from lpla.work.recipe import Unit
from lpla.work.trained import Trained
from lpla.work.unit import extraction_of

WARM, TIMED = 8, 32
"""Steps before the others are waited for (allocation, compilation), and steps that count."""
PROBE_STEPS, PROBE_VIEWS = 8, 256
"""Steps and views that are timed of an encoder by itself; views on the CPU."""
PROBE_SECONDS = 10
"""Seconds after which no further step of an encoder by itself is timed."""
MEMORY_STEPS = 2
"""Steps whose memory is measured; the second has gradients and averages of the first."""
PATIENCE = 900
"""Seconds for which a process waits for the others."""


class Meeting(pl.Callback):
    """Times the steps from when `count` processes, each with a Meeting in `folder`, are warm; `rate` is per second."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.steps, self.start, self.rate = 0, math.nan, math.nan

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Wait for the others after the last warm step; stop the clock after the last timed one."""
        self.steps += 1
        if self.steps == WARM:
            _finish(pl_module.device)
            self._wait()
            self.start = time.monotonic()
        elif self.steps == WARM + TIMED:
            _finish(pl_module.device)
            self.rate = TIMED / (time.monotonic() - self.start)

    def _wait(self) -> None:
        (self.folder / uuid4().hex).touch()
        end = time.monotonic() + PATIENCE
        while len(list(self.folder.iterdir())) < self.count:
            if time.monotonic() > end:
                raise TimeoutError(f"of {self.count} processes some did not begin to train within {PATIENCE} s")
            time.sleep(0.01)


class ShortClock(Clock):
    """Notes when each step ended, and ends the training once that took long."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Count one step more, which may be the last."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        trainer.should_stop = self.ticks[-1] - self.ticks[0] > PROBE_SECONDS


def training_rate(source: Trained, folder: Path, count: int) -> float:
    """Time a throwaway encoder while `count` processes train one each.

    Args:
        source: What is trained.
        folder: Where the processes meet.
        count: Number of processes that train one encoder each.

    Returns:
        Steps per second of one encoder.
    """
    epochs = math.ceil((WARM + TIMED) / (len(source.shown) // source.regime.batch_size))
    meeting = Meeting(folder, count)
    _train_throwaway(source, replace(source.regime, epochs=epochs), WARM + TIMED, meeting)
    return meeting.rate


def seconds_per_epoch(source: Trained) -> float:
    """Measured on the first steps of a throwaway encoder, of which the earlier half (allocation) is left out."""
    clock = ShortClock()
    _train_throwaway(source, source.regime, PROBE_STEPS, clock)
    steps = np.diff(clock.ticks)
    return float(np.median(steps[len(steps) // 2 :])) * (len(source.shown) // source.regime.batch_size)


def seconds_to_train(sources: Sequence[Trained], say: Callable[[Trained, float], None] = lambda *_: None) -> float:
    """Measure how long encoders take to train one after the other, by a few steps of each kind.

    Args:
        sources: What is to be trained.
        say: Is told of a source of each kind, and how many seconds its epoch takes.

    Returns:
        Seconds.
    """
    rates: dict[tuple[str, int], float] = {}
    seconds = 0.0
    for one in sources:
        if (kind := (kind_of(one), len(one.shown))) not in rates:
            rates[kind] = seconds_per_epoch(one)
            say(one, rates[kind])
        seconds += rates[kind] * one.regime.epochs
    return seconds


class _Allocated(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive at once, of all that operations make within it."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._alive: dict[int, Any] = {}

    def __torch_dispatch__(self, operation: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what the operation made."""
        made = operation(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor) and (storage := one.untyped_storage())._cdata not in self._alive:
                self._note(storage._cdata, storage.nbytes(), storage)
        return made

    def _note(self, name: int, size: int, storage: Any) -> None:
        def gone(_: Any) -> None:
            self.now -= size
            self._alive.pop(name, None)

        self._alive[name] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def peak_memory(source: Trained) -> int:
    """Measure the bytes that a few training steps of a throwaway encoder take at most, beside what was there before."""
    device = source.trainer_factory()().strategy.root_device
    if device.type == "cuda":
        _finish(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        _train_throwaway(source, source.regime, MEMORY_STEPS, pl.Callback())
        return torch.cuda.max_memory_allocated(device) - before
    with _Allocated() as found:
        _train_throwaway(source, source.regime, MEMORY_STEPS, pl.Callback())
    return found.peak


def views_per_second(unit: Unit, store: Store) -> float:
    """Measured on the second of two runs over a few images, in which an untrained encoder gets the unit's requests.

    As many as go through the encoder at once on a GPU, fewer on the CPU; the store keeps nothing of them.
    """
    device, request = unit.source.trainer_factory()().strategy.root_device, unit.observations[0]
    views = unit.batch_size if device.type == "cuda" else PROBE_VIEWS
    few = replace(request, index=request.index[: max(1, views // request.query.queries)])
    encoder, rate = unit.source.build(), math.nan
    for _ in range(2):
        with store.scratch() as folder:
            extraction = extraction_of(unit, store, few, list(few.statistics), Unseen(), ViewCache(0), folder / "probe")
            start = time.monotonic()
            extraction.observe(encoder, device)
            rate = extraction.forwards / (time.monotonic() - start)
    return rate


def _train_throwaway(source: Trained, regime: TrainConfig, steps: int, watcher: pl.Callback) -> None:
    factory = partial(source.trainer_factory(), max_steps=steps)
    pixels, index, defended = source.images.pixels, np.asarray(source.shown), source.rehearsed()
    train(source.build(), pixels, index, regime, factory, [watcher], source.compile_on_cuda, defended=defended)


def _finish(device: torch.device) -> None:
    """What a GPU was given to do is done afterwards."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

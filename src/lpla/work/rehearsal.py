"""How fast encoders train, alone or side by side, measured before any of them is trained for good."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytorch_lightning as pl
import torch

from lpla.training.callbacks import Clock
from lpla.training.pretraining import TrainConfig, train
from lpla.work.recipe import Unit, build_arch, trainer_factory

WARM, TIMED = 8, 32
"""Steps before the others are waited for (allocation, compilation), and steps that count."""
PROBE_STEPS = 8
"""Of an encoder by itself."""
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


def training_rate(unit: Unit, folder: Path, count: int) -> float:
    """Steps per second of a throwaway encoder, while `count` processes that meet in `folder` train one each."""
    epochs = math.ceil((WARM + TIMED) / (len(unit.members) // unit.regime.batch_size))
    meeting = Meeting(folder, count)
    _train_throwaway(unit, replace(unit.regime, epochs=epochs), WARM + TIMED, meeting)
    return meeting.rate


def seconds_per_epoch(unit: Unit) -> float:
    """Measured on the first steps of a throwaway encoder, of which the earlier half (allocation) is left out."""
    clock = Clock()
    _train_throwaway(unit, unit.regime, PROBE_STEPS, clock)
    steps = np.diff(clock.ticks)
    return float(np.median(steps[len(steps) // 2 :])) * (len(unit.members) // unit.regime.batch_size)


def _train_throwaway(unit: Unit, regime: TrainConfig, steps: int, watcher: pl.Callback) -> None:
    factory = partial(trainer_factory(unit), max_steps=steps)
    pixels, index = unit.images.pixels, np.asarray(unit.members)
    train(build_arch(unit), pixels, index, regime, factory, [watcher], unit.compile_on_cuda)


def _finish(device: torch.device) -> None:
    """What a GPU was given to do is done afterwards."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

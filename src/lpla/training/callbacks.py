"""What watches a training: a clock, a progress bar, and whoever saves what was observed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import pytorch_lightning as pl

Advance = Callable[[int], None]


@runtime_checkable
class Progress(Protocol):
    """Where a unit reports how far it is."""

    def begin(self, task: str, total: int) -> Advance:
        """Announce a task of `total` steps; returns the function that advances it."""
        ...


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
    """Advances a progress bar by one at the end of every epoch, and at first by those of an earlier run."""

    def __init__(self, advance: Advance) -> None:
        self.advance = advance

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Those that a checkpoint has."""
        self.advance(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One epoch more."""
        self.advance(1)


class Kept(pl.Callback):
    """Saves what was observed of an epoch before the next one, and so before a checkpoint from which it is not seen."""

    def __init__(self, save: Callable[[], None]) -> None:
        self.save = save

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Extractions come before it."""
        self.save()

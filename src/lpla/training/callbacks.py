"""What watches a training: a clock, a progress bar, whoever observes the encoder and saves what was observed."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytorch_lightning as pl
import torch

from lpla.contracts.encoder import Arch


class Clock(pl.Callback):
    """Notes when training started and when each step ended."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self.ticks.append(time.monotonic())

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Count one step more."""
        self.ticks.append(time.monotonic())


class Epochs(pl.Callback):
    """Advances a progress bar by one at the end of every epoch, and at first by those of an earlier run."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the epochs that a checkpoint has."""
        self.advance(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count one epoch more."""
        self.advance(1)


class AtEpoch(pl.Callback):
    """Shows the encoder and its device to `observe` after epoch `epoch` of a training (None: at its end)."""

    def __init__(self, observe: Callable[[Arch, torch.device], object], epoch: int | None) -> None:
        self.observe, self.epoch = observe, epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The encoder as it is after the epoch."""
        if trainer.current_epoch + 1 == self.epoch:
            self._show(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The encoder as training leaves it."""
        if self.epoch is None:
            self._show(pl_module)

    def _show(self, module: pl.LightningModule) -> None:
        assert isinstance(module.arch, Arch)
        self.observe(module.arch, module.device)


class Kept(pl.Callback):
    """Saves what was observed of an epoch before the next one, and so before a checkpoint from which it is not seen."""

    def __init__(self, save: Callable[[], None]) -> None:
        self.save = save

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Extractions come before it."""
        self.save()

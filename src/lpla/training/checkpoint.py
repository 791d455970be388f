"""Checkpoints: the whole state of a training under way, kept in the store so that the same command goes on from it.

Lightning's own state: weights, momentum encoders and memory banks, optimiser, schedule, loops, and the losses so far.
Order, views and masks need none, as they are drawn from (seed, epoch, image): the epoch is their state. A checkpoint
is therefore of the end of an epoch, and a training that is stopped within one does its part of it again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from lpla.store import provenance
from lpla.store.artifacts import Store
from lpla.store.integrity import DamagedError
from lpla.training import signals

log = logging.getLogger(__name__)

KIND, STATE = "checkpoints", "state.ckpt"
NO_STATE = (UnpicklingError, RuntimeError, ValueError, KeyError, EOFError, FileNotFoundError)
"""What torch raises for a file that holds no plain data."""


class Checkpoints(Checkpoint):
    """Checkpoints of one encoder: one artifact for each `every` epochs, of which only the newest is left.

    A subclass of Lightning's Checkpoint so that it comes last at the end of an epoch, when all else is done.
    """

    def __init__(self, store: Store, encoder: Mapping[str, Any], epochs: int, every: int, seconds: float = 0.0) -> None:
        """Keep checkpoints of one encoder, whose lock the caller holds.

        Args:
            store: Where they are kept.
            encoder: The parts of the encoder's key.
            epochs: For how many it trains.
            every: Epochs from one checkpoint to the next.
            seconds: From one checkpoint to the next, or from the start to the first one, at the least.
        """
        self.store, self.encoder, self.epochs, self.every, self.seconds = store, encoder, epochs, every, seconds
        self._last = time.monotonic()

    def newest(self, before: int | None = None) -> Path | None:
        """The newest whole state of the end of an epoch below `before` (None: of any); damaged ones are set aside.

        What is no plain data (a pickle that names code) counts as damaged, and nothing of it is executed.
        """
        for parts in self._those_below(self.epochs if before is None else before):
            place = self.store.find(KIND, parts)
            if place is not None and self._is_state(place):
                log.info("goes on after epoch %d of %d", parts["epoch"], self.epochs)
                return place / STATE
        return None

    def clear(self) -> None:
        """Delete them all: the encoder is finished."""
        self._delete_below(self.epochs)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Stop between two steps of an epoch if a signal asks for it."""
        if batch_idx + 1 < trainer.num_training_batches:
            signals.check()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the state if it is due, or if a signal asks for the end; the last epoch leaves an encoder."""
        epoch = trainer.current_epoch + 1
        # Rank 0 decides, as all ranks keep the state together: their clocks, and when signals reach them, differ.
        if epoch < self.epochs and trainer.strategy.broadcast(signals.asked() or self._is_due(epoch)):
            self._keep(trainer, epoch)
        signals.check()

    def _is_due(self, epoch: int) -> bool:
        return epoch % self.every == 0 and time.monotonic() - self._last >= self.seconds

    def _keep(self, trainer: pl.Trainer, epoch: int) -> None:
        self._last = time.monotonic()

        def write(folder: Path) -> None:
            trainer.save_checkpoint(folder / STATE, weights_only=False)

        if trainer.is_global_zero:
            device = provenance.device_name(trainer.strategy.root_device)
            self.store.put(KIND, self._parts(epoch), write, provenance.describe(device, str(trainer.precision)))
            self._delete_below(epoch)
        else:
            # Every rank takes part in gathering the state; rank 0 alone writes.
            write(self.store.root)

    def _is_state(self, place: Path) -> bool:
        try:
            torch.load(place / STATE, map_location="cpu", weights_only=True)
        except NO_STATE as refused:
            reason = DamagedError(f"{place / STATE} is no state of a training ({type(refused).__name__})")
            self.store.set_aside(place, reason)
            return False
        return True

    def _parts(self, epoch: int) -> dict[str, Any]:
        return {"encoder": self.encoder, "epoch": epoch}

    def _those_below(self, epoch: int) -> Iterator[dict[str, Any]]:
        """The parts of those that are there, the newest first, whatever `every` was when they were made."""
        for earlier in range(epoch - 1, 0, -1):
            if self.store.has(KIND, self._parts(earlier)):
                yield self._parts(earlier)

    def _delete_below(self, epoch: int) -> None:
        for parts in self._those_below(epoch):
            self.store.delete(KIND, parts)

"""Pretraining: one LightningModule for every framework, its members on the device and augmented there in batches."""

from __future__ import annotations

import inspect
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any
from uuid import uuid4

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Int, UInt8
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lpla.contracts.defense import Defense, Step, trainable
from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.data.augment.apply import augment
from lpla.encoders import ranks
from lpla.encoders.batch_norm import synchronised
from lpla.encoders.forwards import backend_on, compiled, contained
from lpla.training.config import Batches, TrainConfig
from lpla.training.defended import PLAIN, Defended
from lpla.training.pixels import Members, fits

log = logging.getLogger(__name__)

TRAIN_VERSION = 2
"""Raise it when a change here changes the weights."""


class Pretraining(pl.LightningModule):
    """Trains `arch` on `members`; order and views are drawn from (regime.seed, epoch, image), not from global state."""

    def __init__(
        self,
        arch: Arch,
        members: Members,
        regime: TrainConfig,
        backend: str | None = None,
        defended: Defended = PLAIN,
    ) -> None:
        super().__init__()
        self.augment = partial(augment, backend=backend)
        self.arch, self.members, self.regime = arch, members, regime
        # In a tuple, so that a teacher is no part of what is trained, moved and kept.
        self._defended = (defended,)
        self.specs = arch.views(regime.views)
        self.epoch_loss: list[float] = []
        self.scores: list[float | None] = []
        self.stopped = False
        """Whether the defence ended it."""
        self._gradients: Sequence[Tensor] | None = None
        self._batch_losses: list[Tensor] = []

    @property
    def defense(self) -> Defense:
        """What changes the training."""
        return self._defended[0].defense

    def train_dataloader(self) -> Batches:
        """Batches of positions among the members."""
        return Batches(len(self.members), self.regime, lambda: self.current_epoch, self.defense)

    def transfer_batch_to_device(
        self, batch: Int[Tensor, " B"], device: torch.device, dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """Turn positions into pixels and data-set indices on the device."""
        return self.members(batch, device)

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> list[Tensor]:
        """Turn pixels into one augmented batch per training view, views of one kind at once."""
        pixels, stream = batch
        views, first = [], self.current_epoch * len(self.specs)
        for spec, alike in itertools.groupby(self.specs):
            count = len(list(alike))
            numbers = torch.arange(first, first + count, device=stream.device).repeat_interleave(len(stream))
            made = self.augment(pixels.repeat(count, 1, 1, 1), spec, self.regime.seed, stream.repeat(count), numbers)
            views += made.chunk(count)
            first += count
        return views

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the loss, the framework's or its defence's; `progress` is the share of steps done."""
        progress = self.global_step / self.trainer.estimated_stepping_batches
        training = self.regime.training(len(self.members))
        step = Step(self.global_step, progress, self.regime.seed, training, self._defended[0].teacher)
        if (own := self.defense.gradients(self.arch, batch, step)) is None:
            loss, self._gradients = self.defense.loss(self.arch, batch, step), None
        else:
            loss, self._gradients = own
        self._batch_losses.append(loss.detach())
        return loss

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take the loss's gradient, or those that the defence computed; arguments as of `LightningModule.backward`."""
        if self._gradients is None:
            super().backward(loss, *args, **kwargs)
            return
        for weight, gradient in zip(trainable(self.arch), self._gradients, strict=True):
            weight.grad = gradient
        self._gradients = None

    def on_train_start(self) -> None:
        """Go no further where an earlier run was interrupted at the end."""
        self._stop_in_time()

    def _stop_in_time(self) -> None:
        done = len(self.epoch_loss)
        if done and self.defense.stops(done, self.regime.epochs, self.scores):
            self.trainer.should_stop = self.stopped = True

    def on_train_epoch_end(self) -> None:
        """Record the epoch's mean loss; a loss or a weight that is not finite stops this encoder."""
        loss = ranks.mean(torch.stack(self._batch_losses).mean()).item()
        self._batch_losses.clear()
        # The last step of all is followed by no loss that would show what became of the weights.
        if not math.isfinite(loss) or not self._is_finite():
            what = (
                "a weight of the network became infinite" if math.isfinite(loss) else f"the training loss became {loss}"
            )
            rate = self.arch.optimization.base_lr
            raise InputError(
                f"{what} in epoch {self.current_epoch + 1} of {self.regime.epochs}: it must "
                f"stay finite; lower arch.optimization.base_lr (now {rate}), or take back what else "
                "of arch is far from its default; no artifact was written for this encoder"
            )
        self.epoch_loss.append(loss)
        self.scores.append(self._defended[0].score(self.arch, self.device))
        self._stop_in_time()

    def _is_finite(self) -> bool:
        """Whether every weight is: a sum that is finite says so of all its parts, in a quarter of the time."""
        weights = [one for one in self.arch.state_dict().values() if isinstance(one, Tensor)]
        sums = torch.stack([one.sum(dtype=torch.float32) for one in weights])
        return bool(sums.isfinite().all()) or all(bool(one.isfinite().all()) for one in weights)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The losses and scores so far are part of the state."""
        checkpoint["epoch_loss"], checkpoint["scores"] = self.epoch_loss, self.scores

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take them over."""
        self.epoch_loss = checkpoint["epoch_loss"]
        self.scores = checkpoint.get("scores", [None] * len(self.epoch_loss))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the framework's optimiser, linear warm-up by epochs, then a cosine to zero, moved every step."""
        spec = self.arch.optimization
        scale = 1.0 if spec.reference_batch is None else self.regime.batch_size / spec.reference_batch
        optimizer = spec.optimizer(trainable(self.arch), lr=spec.base_lr * scale, **fused(spec.optimizer, self.device))
        per_epoch = len(self.members) // self.regime.batch_size
        factor = warmup_cosine(spec.warmup_epochs * per_epoch, self.regime.epochs * per_epoch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def fused(optimizer: Callable[..., torch.optim.Optimizer], device: torch.device) -> dict[str, bool]:
    """Return the argument that makes an optimiser's step one kernel: on CUDA, if it has one and no other way is set."""
    ways = {name for name in ("fused", "foreach", "differentiable") if getattr(optimizer, "keywords", {}).get(name)}
    has_one = "fused" in inspect.signature(optimizer).parameters
    return {"fused": True} if device.type == "cuda" and has_one and not ways else {}


def warmup_cosine(warmup: int, total: int) -> Callable[[int], float]:
    """Factor on the learning rate at a step: linear over `warmup` steps, then half a cosine down to zero at `total`."""

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

    return factor


def train(
    arch: Arch,
    pixels: UInt8[Tensor, "M C H W"],
    index: Int[np.ndarray, " N"],
    regime: TrainConfig,
    trainer: Callable[..., pl.Trainer],
    callbacks: Sequence[pl.Callback],
    compile_on_cuda: bool = False,
    resume: Path | None = None,
    defended: Defended = PLAIN,
) -> list[float]:
    """Train an encoder on some images of a data set.

    Its convolutions become channels-last.

    Args:
        arch: The encoder, trained in place.
        pixels: The images of the data set.
        index: Indices of the members.
        regime: Batch, epochs, seed and the like.
        trainer: Makes Lightning's trainer.
        callbacks: Further callbacks.
        compile_on_cuda: Whether backbones and views are compiled on CUDA.
        resume: State of the same training, as Lightning saved it, from which it goes on; None: from the beginning.
        defended: The defence that changes the training, and what it needs.

    Returns:
        The mean loss of each epoch.

    Raises:
        InputError: If the settings cannot work or the loss stops being finite.
    """
    if len(index) < regime.batch_size:
        raise InputError(f"train.batch_size must be at most members, {len(index)}, got {regime.batch_size}")
    regime.check_shares(ranks.count())
    if regime.epochs == 0:
        return []
    runner = _runner(trainer, regime, callbacks)
    device = runner.strategy.root_device
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"trainer must use a CPU or a CUDA GPU (views need float64), got {device}; set trainer=cpu")
    resident = fits(pixels, len(index), device)
    if not resident:
        log.info(
            "%d members do not fit into half of the free memory of %s: streamed batch by batch", len(index), device
        )
    backend = backend_on(device, compile_on_cuda)
    module = Pretraining(arch, Members(pixels, index, resident), regime, backend, defended)
    arch.train()
    if defended.teacher is not None:
        defended.teacher.to(device).eval()
    arch.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's stubs
    with synchronised(arch), contained(arch, device), compiled(arch, backend):
        runner.fit(module, ckpt_path=resume, weights_only=True)
    if len(module.epoch_loss) < regime.epochs and runner.max_steps < 0 and not module.stopped:
        raise RuntimeError(f"training stopped after {len(module.epoch_loss)} of {regime.epochs} epochs")
    return module.epoch_loss


def _runner(trainer: Callable[..., pl.Trainer], regime: TrainConfig, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    # Under Slurm, Lightning takes up any state that it finds in its folder, that of another encoder too.
    nowhere = Path(gettempdir()) / uuid4().hex
    keeps = any(isinstance(callback, Checkpoint) for callback in callbacks)
    return trainer(
        max_epochs=regime.epochs, callbacks=list(callbacks), enable_checkpointing=keeps, default_root_dir=nowhere
    )

"""Extraction: a Lightning callback that queries an encoder with every view of every image and keeps only statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpla.answers import answers
from lpla.contracts import Arch
from lpla.evidence import Query, Statistic

VERSION = 1
"""Raise it when a change here, or of what an encoder answers, changes the statistics."""


@dataclass(frozen=True)
class Observed:
    """One layer's statistics by name, those that exist there, and how many embeddings were zero or not finite."""

    values: dict[str, Float[np.ndarray, "N ..."]]
    zero: int
    nonfinite: int


class Extraction(pl.Callback):
    """Observes `arch` on the images `index` of a data set after epoch `epoch` (None: its last), or when told to.

    `pixels` are the whole data set's, which may be a memory map: one chunk of the pool is read at a time.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "M C H W"],
        index: Int[np.ndarray, " N"],
        query: Query,
        statistics: Sequence[Statistic],
        release: Callable[[Tensor], Tensor],
        batch_size: int,
        advance: Callable[[int], None],
        epoch: int | None = None,
    ) -> None:
        self.pixels, self.index, self.query = pixels, torch.from_numpy(np.ascontiguousarray(index)), query
        self.statistics, self.release = statistics, release
        self.batch_size, self.advance, self.epoch = batch_size, advance, epoch
        self.result: dict[str, Observed] | None = None
        self.forwards = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Observe the encoder as it is after the epoch."""
        if trainer.current_epoch + 1 == self.epoch:
            self._observe_module(pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Observe the encoder as training leaves it."""
        if self.epoch is None:
            self._observe_module(pl_module)

    def _observe_module(self, module: pl.LightningModule) -> None:
        assert isinstance(module.arch, Arch)
        self.observe(module.arch, module.device)

    def observe(self, arch: Arch, device: torch.device) -> dict[str, Observed]:
        """The pool's statistics by layer; `forwards` counts the views that were asked of the encoder."""
        training = arch.training
        arch.to(device).eval()
        chunks: list[dict[str, Observed]] = []
        with torch.inference_mode():
            for index in self.index.split(self.batch_size):
                chunks.append(self._observe_chunk(arch, self.pixels[index].to(device), index))
                self.advance(len(index))
        arch.train(training)
        self.result = {layer: _join([chunk[layer] for chunk in chunks]) for layer in chunks[0]}
        return self.result

    def _observe_chunk(self, arch: Arch, pixels: Tensor, index: Tensor) -> dict[str, Observed]:
        self.forwards += self.query.queries * len(pixels)
        found = {}
        for layer, embedding in answers(arch, pixels, index.to(pixels.device), self.query).items():
            released = self.release(embedding).unflatten(0, (-1, len(pixels))).transpose(0, 1)
            finite = released.isfinite().all(dim=2)
            zero = (released == 0).all(dim=2)
            values = {s.name: s(released).cpu().numpy() for s in self.statistics if layer in s.layers}
            found[layer] = Observed(values, int(zero.sum()), int((~finite).sum()))
        return found


def _join(chunks: Sequence[Observed]) -> Observed:
    values = {name: np.concatenate([c.values[name] for c in chunks]) for name in chunks[0].values}
    return Observed(values, sum(c.zero for c in chunks), sum(c.nonfinite for c in chunks))

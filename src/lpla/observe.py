"""Extraction: a Lightning callback that queries an encoder with every view of every image and keeps only statistics."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpla import ranks
from lpla.answers import FORWARD, answers
from lpla.compiled import backend_on, compiled
from lpla.contracts import Arch, InputError
from lpla.evidence import Query, Statistic
from lpla.fold import folded
from lpla.kept_views import KeptViews
from lpla.rows import Rows

log = logging.getLogger(__name__)

VERSION = 2
"""Raise it when a change here, or of what an encoder answers, changes the statistics."""
ZERO, NONFINITE = "number of zero embeddings", "number of embeddings that are not finite"
"""Beside the values of the statistics."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Observed:
    """One layer's statistics by name, those that exist there, and how many embeddings were zero or not finite."""

    values: dict[str, Float[np.ndarray, "N ..."]]
    zero: int
    nonfinite: int


class Extraction(pl.Callback):
    """Observes `arch` on the images `index` of a data set after epoch `epoch` (None: its last), or when told to.

    `pixels` are the whole data set's, which may be a memory map. The peak of the memory is that of one chunk (of about
    `batch_size` views) and of what `views` keeps: statistics are written to `folder` and mapped from there.

    Ranks take turns at the chunks, none twice, and rank 0 writes what they found, in the order of the images; the
    result of the others is empty. The bits are those of one process, as no embedding depends on its company.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "M C H W"],
        index: Int[np.ndarray, " N"],
        query: Query,
        statistics: Sequence[Statistic],
        release: Callable[[Tensor], Tensor],
        views: KeptViews,
        batch_size: int,
        folder: Path,
        advance: Callable[[int], None],
        epoch: int | None = None,
        bfloat16: bool = False,
        compile_on_cuda: bool = False,
    ) -> None:
        self.pixels, self.index, self.query = pixels, torch.from_numpy(np.ascontiguousarray(index)), query
        self.statistics, self.release, self.views = statistics, release, views
        self.batch_size, self.folder, self.advance, self.epoch = batch_size, folder, advance, epoch
        self.bfloat16, self.compile_on_cuda = bfloat16, compile_on_cuda
        self.most = len(index)
        """Images of a chunk that go through the encoder together."""
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
        """The pool's statistics by layer; `forwards` counts the views that were asked of the encoder, on all ranks."""
        training = arch.training
        arch.to(device).eval()
        self.folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Pending] = {}
        example = torch.zeros(1, *self.pixels.shape[1:], device=device)
        fast = compiled(arch, backend_on(device, self.compile_on_cuda), training=False)
        with folded(arch, lambda: arch.encode(example)), fast, torch.inference_mode():
            # While what a turn found is written, the device has the next one to go on with.
            for images, coming in one_behind(self._turns(arch, device)):
                for part in itertools.chain.from_iterable(ranks.collected([one.arrived() for one in coming])):
                    self._keep(part, found)
                self._count(images)
        arch.train(training)
        self.result = {layer: pending.observed() for layer, pending in found.items()}
        return self.result

    def path(self, layer: str, statistic: str) -> Path:
        """Where the values of a statistic are written."""
        return self.folder / f"{layer}-{statistic}.npy"

    def _turns(self, arch: Arch, device: torch.device) -> Iterator[tuple[int, list[Coming]]]:
        """A chunk for every rank: the images of all, and what comes of this rank's."""
        chunks = self.index.split(self._chunk_size())
        for first in range(0, len(chunks), ranks.count()):
            turn = chunks[first : first + ranks.count()]
            mine = turn[ranks.number() : ranks.number() + 1]
            yield sum(map(len, turn)), [piece for i in mine for piece in self._observe_in_pieces(arch, i, device)]

    def _observe_in_pieces(self, arch: Arch, index: Tensor, device: torch.device) -> list[Coming]:
        """The chunk, in as many pieces as the device's memory asks for: no embedding depends on its company."""
        parts = []
        while len(index):
            piece = index[: self.most]
            try:
                parts.append(self._observe_chunk(arch, piece, device))
            except torch.OutOfMemoryError as full:
                self._halve(len(piece), device, full)
            else:
                index = index[len(piece) :]
        return parts

    def _halve(self, images: int, device: torch.device, full: torch.OutOfMemoryError) -> None:
        views = self.query.queries * images
        if images == 1:
            free = f"{device} has no room for the views of one image and a forward pass of {FORWARD[device.type]}"
            raise InputError(f"observe.batch_size cannot be made smaller than {views}, but {free}") from full
        self.most = images // 2
        log.warning("%s is out of memory: observe.batch_size halved to %d views, same results", device, views // 2)

    def _chunk_size(self) -> int:
        """Images; no more than a rank's share, so that none is idle."""
        return max(1, min(self.batch_size // self.query.queries, math.ceil(len(self.index) / ranks.count())))

    def _observe_chunk(self, arch: Arch, index: Tensor, device: torch.device) -> Coming:
        views = self.views.chunk(self.pixels, index, self.query, device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            embeddings = answers(arch, views, self.query, self.pixels.shape[-1])
        return Coming({layer: self._statistics(layer, e, len(index)) for layer, e in embeddings.items()}, device)

    def _statistics(self, layer: str, embedding: Tensor, images: int) -> dict[str, Tensor]:
        """Values by name, and how many embeddings are zero and not finite."""
        exact = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
        released = self.release(exact).unflatten(0, (-1, images)).transpose(0, 1)
        counts = {ZERO: (released == 0).all(dim=2).sum(), NONFINITE: (~released.isfinite().all(dim=2)).sum()}
        return counts | {s.name: s(released) for s in self.statistics if layer in s.layers}

    def _keep(self, part: dict[str, Observed], found: dict[str, Pending]) -> None:
        for layer, observed in part.items():
            pending = found.setdefault(layer, Pending())
            pending.zero += observed.zero
            pending.nonfinite += observed.nonfinite
            for name, values in observed.values.items():
                new = Rows(self.path(layer, name), len(self.index))
                pending.rows.setdefault(name, new).append(values)

    def _count(self, images: int) -> None:
        self.forwards += self.query.queries * images
        self.advance(images)


class Coming:
    """What was found of a chunk, on its way from the device."""

    def __init__(self, found: dict[str, dict[str, Tensor]], device: torch.device) -> None:
        self._found = {
            layer: {name: one.to("cpu", non_blocking=True) for name, one in values.items()}
            for layer, values in found.items()
        }
        self._sent = torch.cuda.Event() if device.type == "cuda" else None
        if self._sent:
            self._sent.record(torch.cuda.current_stream(device))

    def arrived(self) -> dict[str, Observed]:
        """Wait for it."""
        if self._sent:
            self._sent.synchronize()
        found = {}
        for layer, values in self._found.items():
            zero, nonfinite = (int(values.pop(name)) for name in (ZERO, NONFINITE))
            found[layer] = Observed({name: one.numpy() for name, one in values.items()}, zero, nonfinite)
        return found


@dataclass
class Pending:
    """What has been observed of a layer so far."""

    rows: dict[str, Rows] = field(default_factory=dict)
    zero: int = 0
    nonfinite: int = 0

    def observed(self) -> Observed:
        """All of it, mapped from the files."""
        values = {name: np.load(one.path, mmap_mode="r", allow_pickle=False) for name, one in self.rows.items()}
        return Observed(values, self.zero, self.nonfinite)


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each when the next one has been made."""
    earlier: list[Item] = []
    for item in items:
        yield from earlier
        earlier = [item]
    yield from earlier

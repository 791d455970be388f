"""Extraction: an encoder is queried with every view of every image, and only statistics are kept."""

from __future__ import annotations

import itertools
import logging
import math
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from lpla.contracts.encoder import Encoder
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import InputError
from lpla.encoders import ranks
from lpla.encoders.fold_batch_norm import folded
from lpla.encoders.forwards import backend_on, compiled
from lpla.extraction.query import FORWARD, answers
from lpla.extraction.release import Release
from lpla.extraction.sent import MAKER, SentViews, maker, sent_file
from lpla.extraction.statistic.principal_axes import Axes, OnAxes, PrincipalAxes
from lpla.extraction.view_cache import ViewCache
from lpla.extraction.writer import NONFINITE, ZERO, Arrived, Extracted, NpyWriter, Pending, PendingCopy

log = logging.getLogger(__name__)

OBSERVE_VERSION = 3
"""Raise it when a change here, or of what an encoder answers, changes the statistics or what is kept beside them."""
Item = TypeVar("Item")


class Extraction:
    """Observes an encoder on the images `index` of a data set, as it is after epoch `epoch` (None: the last).

    `pixels` are the whole data set's, which may be a memory map. The peak of the memory is that of one chunk (of about
    `batch_size` views) and of what `views` keeps: statistics are written to `folder` and mapped from there.

    Statistics that need the layers' principal axes get them from `axes`, or of a first pass over the clean views, which
    are then in `axes` (on rank 0, which keeps them). A defence learns before, from images that are nobody's members.

    Beside the statistics stands what the encoder was given, a projection and four summaries of every view, and what
    made the views (`keep_sent`).

    Ranks take turns at the chunks, none twice, and rank 0 writes what they found, in the order of the images; the
    result of the others is empty. The bits are those of one process, as no embedding depends on its company.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "M C H W"],
        index: Int[np.ndarray, " N"],
        query: Query,
        statistics: Sequence[Statistic],
        release: Release,
        views: ViewCache,
        batch_size: int,
        folder: Path,
        advance: Callable[[int], None],
        epoch: int | None = None,
        bfloat16: bool = False,
        compile_on_cuda: bool = False,
        axes: Mapping[str, Axes] | None = None,
    ) -> None:
        self.pixels, self.index, self.query = pixels, torch.from_numpy(np.ascontiguousarray(index)), query
        self.statistics, self.release, self.views = statistics, release, views
        self.batch_size, self.folder, self.advance, self.epoch = batch_size, folder, advance, epoch
        self.bfloat16, self.compile_on_cuda = bfloat16, compile_on_cuda
        self.axes = dict(axes or {})
        self.most = len(index)
        """Images of a chunk that go through the encoder together."""
        self.result: dict[str, Extracted] | None = None
        self.forwards = 0
        self.device, self.maker = torch.device("cpu"), ""
        self._sent: dict[str, NpyWriter] = {}

    def observe(self, encoder: Encoder, device: torch.device) -> dict[str, Extracted]:
        """The pool's statistics by layer; `forwards` counts the views that were asked of the encoder, on all ranks."""
        training = encoder.training
        encoder.to(device).eval()
        backend = backend_on(device, self.compile_on_cuda)
        self.device, self.maker = device, maker(device, backend is not None)
        self.folder.mkdir(parents=True, exist_ok=True)
        found: dict[str, Pending] = {}
        with torch.inference_mode():
            self.release = self.release.learnt(encoder, self.pixels, self.query, device, self.bfloat16)
        if not self.axes and any(isinstance(one, OnAxes) for one in self.statistics):
            self.axes = self._find_axes(encoder, device)
        self.axes = {layer: axes.to(device) for layer, axes in self.axes.items()}
        example = torch.zeros(1, *self.pixels.shape[1:], device=device)
        fast = compiled(encoder, backend, training=False)
        with folded(encoder, lambda: encoder.encode(example)), fast, torch.inference_mode():
            # While what a turn found is written, the device has the next one to go on with.
            for images, coming in one_behind(self._turns(encoder, device)):
                for part in itertools.chain.from_iterable(ranks.gather([one.arrived() for one in coming])):
                    self._keep(part, found)
                self._count(images)
        encoder.train(training)
        self.result = {layer: pending.observed() for layer, pending in found.items()}
        return self.result

    def _find_axes(self, encoder: Encoder, device: torch.device) -> dict[str, Axes]:
        """A first pass over the clean views; computed by rank 0 alone, so that all ranks have the same bits."""
        first = Extraction(
            self.pixels,
            self.index.numpy(),
            replace(self.query, queries=1),
            [PrincipalAxes()],
            self.release,
            self.views,
            self.batch_size,
            self.folder / "clean",
            lambda _: None,
            bfloat16=self.bfloat16,
            compile_on_cuda=self.compile_on_cuda,
        )
        clean = first.observe(encoder, device)
        self.forwards += first.forwards
        found = {layer: Axes.of(observed.values[PrincipalAxes.name]) for layer, observed in clean.items()}
        shutil.rmtree(first.folder)
        return ranks.from_first(found)

    def path(self, layer: str, statistic: str) -> Path:
        """Return the file to which the values of a statistic are written."""
        return self.folder / f"{layer}-{statistic}.npy"

    def keep_sent(self, folder: Path) -> None:
        """Write what was sent into the folder of a statistic: `Sent.load` reads it."""
        for written in self._sent.values():
            shutil.copyfile(written.path, folder / written.path.name)
        (folder / MAKER).write_text(self.maker)

    def _turns(self, encoder: Encoder, device: torch.device) -> Iterator[tuple[int, list[PendingCopy]]]:
        """A chunk for every rank: the images of all, and what comes of this rank's."""
        chunks = self.index.split(self._chunk_size())
        for first in range(0, len(chunks), ranks.count()):
            turn = chunks[first : first + ranks.count()]
            mine = turn[ranks.number() : ranks.number() + 1]
            yield sum(map(len, turn)), [piece for i in mine for piece in self._observe_in_pieces(encoder, i, device)]

    def _observe_in_pieces(self, encoder: Encoder, index: Tensor, device: torch.device) -> list[PendingCopy]:
        """The chunk, in as many pieces as the device's memory asks for: no embedding depends on its company."""
        parts = []
        while len(index):
            piece = index[: self.most]
            try:
                parts.append(self._observe_chunk(encoder, piece, device))
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

    def _observe_chunk(self, encoder: Encoder, index: Tensor, device: torch.device) -> PendingCopy:
        views = self.views.chunk(self.pixels, index, self.query, device)
        sent = SentViews(encoder.digests)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16):
            embeddings = answers(encoder, views, self.query, self.pixels.shape[-1], sent)
        found = {layer: self._statistics(layer, e, index) for layer, e in embeddings.items()}
        return PendingCopy(found, sent.by_image(len(index)), device)

    def _statistics(self, layer: str, embedding: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Values by name, and how many embeddings are zero and not finite."""
        exact = embedding.to(torch.promote_types(embedding.dtype, torch.float32))
        released = self.release(layer, exact, index).unflatten(0, (-1, len(index))).transpose(0, 1)
        counts = {ZERO: (released == 0).all(dim=2).sum(), NONFINITE: (~released.isfinite().all(dim=2)).sum()}
        return counts | {s.name: self._value(s, layer, released) for s in self.statistics if layer in s.layers}

    def _value(self, statistic: Statistic, layer: str, released: Tensor) -> Tensor:
        return statistic(released, self.axes[layer]) if isinstance(statistic, OnAxes) else statistic(released)

    def _keep(self, part: Arrived, found: dict[str, Pending]) -> None:
        for name, kept in part.sent.items():
            self._sent.setdefault(name, NpyWriter(self.folder / sent_file(name), len(self.index))).append(kept)
        for layer, observed in part.layers.items():
            pending = found.setdefault(layer, Pending())
            pending.zero += observed.zero
            pending.nonfinite += observed.nonfinite
            for name, values in observed.values.items():
                new = NpyWriter(self.path(layer, name), len(self.index))
                pending.rows.setdefault(name, new).append(values)

    def _count(self, images: int) -> None:
        self.forwards += self.query.queries * images
        self.advance(images)


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """Return the items, each as soon as the next one has been made."""
    earlier: list[Item] = []
    for item in items:
        yield from earlier
        earlier = [item]
    yield from earlier

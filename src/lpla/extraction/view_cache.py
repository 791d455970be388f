"""Views made for one encoder and kept for the next: to make them costs a good part of a small network's forward pass.

Kept for as long as this object lives, which is one job, or one worker of it. Not on disk: single-precision views are
read no faster there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpla.contracts.evidence import Query
from lpla.encoders.forwards import backend_on
from lpla.extraction.query import made

Chunk = tuple[Float[Tensor, "_M C _S _S"], ...]


class ViewCache:
    """Views that are kept on their device, first come, first kept, up to `limit` bytes; the others are made again.

    On CUDA and if so wished they are made by compiled code.
    """

    def __init__(self, limit: int, compile_on_cuda: bool = False) -> None:
        self.limit = self.left = limit
        self.compile_on_cuda = compile_on_cuda
        self._kept: dict[tuple[int, bytes, Query, torch.device], tuple[Tensor, Chunk]] = {}

    def __reduce__(self) -> tuple[Callable[[int, bool], ViewCache], tuple[int, bool]]:
        """Sent to another process, it is what that one keeps for all that it is sent."""
        return _of_this_process, (self.limit, self.compile_on_cuda)

    def chunk(
        self, pixels: UInt8[Tensor, "N C H W"], index: Int[Tensor, " B"], query: Query, device: torch.device
    ) -> Chunk:
        """Take the views of a chunk from memory, or make them.

        Args:
            pixels: The images of a data set.
            index: Indices of the images of the chunk.
            query: What is asked for.
            device: Device of the views.

        Returns:
            The views, which must not be changed in place.
        """
        # Pixels are told apart by identity, and held so that no others can get it.
        key = id(pixels), index.numpy().tobytes(), query, device
        if key in self._kept:
            return self._kept[key][1]
        # Where a rounded value lies between two, the last bit of another device's decides: all are made on the CPU.
        place = torch.device("cpu") if query.eight_bit else device
        backend = backend_on(place, self.compile_on_cuda)
        views = made(pixels[index].to(place), index.to(place), query, backend)
        views = tuple(one.to(device) for one in views)
        size = sum(one.untyped_storage().nbytes() for one in views)
        if size <= self.left:
            self.left -= size
            self._kept[key] = pixels, views
        return views


@lru_cache(maxsize=1)
def _of_this_process(limit: int, compile_on_cuda: bool) -> ViewCache:
    return ViewCache(limit, compile_on_cuda)

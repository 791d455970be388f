"""What an encoder was given: of every view one fixed random projection and four summaries, taken at its door.

The projection adds whole numbers, so that batches, threads and ranks, which change the order, change no bit of it.
Differences that cancel in it exist, and hit all views of a group with probability 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images
from lpla.contracts.streams import stream
from lpla.extraction.query import made

ONE = 2**20
"""How a pixel of value 1 counts in the projection: finer than the rounding of pixels, coarse enough to add exactly."""
SUMMARIES = ("mean", "root_mean_square", "step_across", "step_down")
CHUNK = 4096
"""Views that are made again at once, about; a matter of memory."""

PARTS, DIGEST, MAKER = ("projection", "summaries"), "digest", "sent-by.txt"
Digests = Callable[[Float[Tensor, "B C H W"]], Int64[Tensor, " B"] | None]
"""From views to digests of the bytes that are sent in their place, where bytes are sent."""


@dataclass(frozen=True)
class Sent:
    """The views of one extraction as the encoder was given them, and what made them (of `maker`)."""

    projection: Float64[np.ndarray, "N Q"]
    summaries: Float[np.ndarray, "N Q 4"]
    maker: str
    digest: Int64[np.ndarray, "N Q"] | None = None
    """Digests of the bytes that were sent in place of each view, where bytes were sent."""

    @classmethod
    def load(cls, folder: Path) -> Sent:
        """Load what was sent from the folder of a statistic, memory-mapped."""
        there = (*PARTS, *([DIGEST] if (folder / sent_file(DIGEST)).exists() else []))
        found = {one: np.load(folder / sent_file(one), mmap_mode="r", allow_pickle=False) for one in there}
        return cls(**found, maker=(folder / MAKER).read_text())


def sent_file(part: str) -> str:
    """Return the name of the file of one of `PARTS`, or of the digests."""
    return f"sent-{part}.npy"


class SentViews:
    """Collects what is kept of the views that go into an encoder, in their order."""

    def __init__(self, digests: Digests | None = None) -> None:
        """Begin without views; `digests` is the encoder's own, where it sends bytes in their place."""
        self._digests = digests
        self._kept: dict[str, list[Tensor]] = {}

    def take(self, views: Float[Tensor, "B C H W"]) -> None:
        """Record the tensor that the encoder gets next."""
        found = {"projection": projected(views), "summaries": summarised(views)}
        if self._digests is not None and (digests := self._digests(views)) is not None:
            found[DIGEST] = digests
        for part, one in found.items():
            self._kept.setdefault(part, []).append(one)

    def by_image(self, images: int) -> dict[str, Tensor]:
        """Return projections [B, Q], summaries [B, Q, 4] and digests [B, Q], of view-major views of so many images."""
        both = {part: torch.cat(found) for part, found in self._kept.items()}
        return {part: one.unflatten(0, (-1, images)).transpose(0, 1) for part, one in both.items()}


def projected(views: Float[Tensor, "B C H W"]) -> Float64[Tensor, " B"]:
    """Each view's values, in whole numbers of 2^-20, added up with fixed random signs: a whole number too.

    Double precision holds every sum on the way exactly, whatever the order, below 2^53.
    """
    # On a device without double precision there is no other way.
    flat = _in_order(views.cpu() if views.device.type == "mps" else views)
    return (flat * ONE).round_().double() @ _signs(views.shape[1:], flat.device)


@lru_cache(maxsize=8)
def _signs(shape: torch.Size, device: torch.device) -> Float64[Tensor, " F"]:
    drawn = stream("signs of the views' projection", 0).integers(0, 2, shape.numel())
    return torch.from_numpy(2.0 * drawn - 1).to(device)


def summarised(views: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 4"]:
    """The columns of `SUMMARIES`: mean, root mean square, mean absolute step to the pixel on the right and below."""
    rows, flat = views.permute(0, 2, 3, 1), _in_order(views)
    size = torch.linalg.vector_norm(flat, dim=1) / math.sqrt(flat.shape[1])
    steps = (_step(rows[:, :, 1:], rows[:, :, :-1]), _step(rows[:, 1:], rows[:, :-1]))
    return torch.stack([flat.mean(1), size, *steps], dim=1)


def _in_order(views: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
    """Flatten views by row, column and channel, the order in which they lie in memory."""
    return views.permute(0, 2, 3, 1).flatten(1)


def _step(one: Float[Tensor, "B h w C"], other: Float[Tensor, "B h w C"]) -> Float[Tensor, " B"]:
    return (one - other).abs_().flatten(1).mean(1) if one[0].numel() else one.new_zeros(len(one))


@lru_cache(maxsize=16)
def expected(images: Images, index: tuple[int, ...], query: Query) -> Float64[np.ndarray, "N Q"]:
    """Make the views of some images once more, `here`, and project them.

    Args:
        images: The data set.
        index: Indices of the images.
        query: What was asked for.

    Returns:
        A projection of each view; it is kept for other layers, encoders and jobs of this process.
    """
    return of_each_view(images, index, query, projected)


def of_each_view(
    images: Images, index: tuple[int, ...], query: Query, found_of: Callable[[Float[Tensor, "B C H W"]], Any]
) -> np.ndarray:
    """Make the views of some images once more, and return what is found of each of them.

    Args:
        images: The data set.
        index: Indices of the images.
        query: What was asked for.
        found_of: From views to a number of each.

    Returns:
        The numbers [N, Q].
    """
    found = []
    for part in torch.tensor(index).split(max(1, CHUNK // query.queries)):
        views = torch.cat([found_of(one) for one in made(images.pixels[part], part, query)])
        found.append(views.unflatten(0, (-1, len(part))).transpose(0, 1).numpy())
    return np.concatenate(found)


def maker(device: torch.device, compiled: bool) -> str:
    """Return the kind of device and of code that makes views: where it is the same, they have the same bits."""
    if device.type == "cuda":
        model = torch.cuda.get_device_name(device)
    else:
        model = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""
    return " ".join([device.type, model, f"torch {torch.__version__}", *(["compiled"] if compiled else [])])


def here() -> str:
    """Return what makes the views of `expected`: this process, on the CPU."""
    return maker(torch.device("cpu"), compiled=False)

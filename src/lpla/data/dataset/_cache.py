"""Decoded pixels on disk, mapped into memory: artifacts of a store of their own, whose folder is `data.cache`."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from lpla.contracts.inputs import Images, InputError
from lpla.store.artifacts import Store

PIXELS, CONTENT = "pixels.bin", "content.json"
GIB = 2**30


@dataclass(frozen=True)
class Decoded:
    """Pixels in a memory map, and the positions of those images that could be decoded among all that were tried."""

    pixels: UInt8[Tensor, "N C H W"]
    kept: list[int]
    digest: str

    def images(self, name: str, labels: Int[np.ndarray, " M"], **more: Any) -> Images:
        """The data set `name`; `labels` are those of all images that were tried, `more` are further fields."""
        found = Images(name, self.pixels, torch.from_numpy(labels[self.kept]), **more)
        # The store has just compared the file with its checksum: to hash the same bytes again would tell nothing more.
        vars(found)["digest"] = self.digest
        return found


def mapped(
    cache: str,
    name: str,
    source: Mapping[str, Any],
    shape: tuple[int, int, int, int],
    fill: Callable[[BinaryIO], list[int]],
) -> Decoded:
    """The pixels that `fill` writes; they are made again if `source` is new or the file on disk is damaged.

    Args:
        cache: the folder of the store, made if it is absent, for this user alone.
        name: of the data set; the kind of the artifact.
        source: what the pixels are made from, and how.
        shape: how many images there are at most, and their channels, height and width in pixels.
        fill: writes one image after the other as uint8 and returns the positions of those that it wrote.

    Raises:
        InputError: the folder cannot be written, its disk has no room for all images, or `fill` has raised it.
    """
    store = Store(cache, setting="data.cache")

    def write(folder: Path) -> None:
        with (folder / PIXELS).open("wb") as out:
            kept = fill(out)
        content: dict[str, Any] = {"shape": [len(kept), *shape[1:]], "kept": kept}
        content["digest"] = Images(name, _map(folder, content), torch.zeros(len(kept), dtype=torch.long)).digest
        (folder / CONTENT).write_text(json.dumps(content))

    with store.lock(name, source):
        place = store.find(name, source)
        if place is None:
            _check_disk(store.root, name, shape)
            place = store.put(name, source, write)
    content = json.loads((place / CONTENT).read_text())
    return Decoded(_map(place, content), content["kept"], content["digest"])


def _map(place: Path, content: Mapping[str, Any]) -> UInt8[Tensor, "N C H W"]:
    # Copy on write: nothing that is done to the tensor can change the file.
    return torch.from_numpy(np.memmap(place / PIXELS, dtype=np.uint8, mode="c", shape=tuple(content["shape"])))


def _check_disk(cache: Path, name: str, shape: tuple[int, int, int, int]) -> None:
    needed, free = math.prod(shape), shutil.disk_usage(cache).free
    if needed > free:
        count, _, height, width = shape
        job = f"dataset={name} makes this job ({count:,} images of {height} x {width} pixels)"
        room = f"{needed / GIB:,.1f} GiB in data.cache={cache}, where {free / GIB:,.1f} GiB are free"
        raise InputError(
            f"{job} need {room}; lower dataset.size where there is one, or set data.cache=FOLDER on another disk"
        )


def check_outside(cache: str, images: Path, setting: str) -> None:
    """Raise InputError where the folder of decoded pixels is a user's folder of images or lies in it."""
    if Path(cache).expanduser().resolve().is_relative_to(images.resolve()):
        wanted = f"outside {setting}={images}, so that nothing is written among its images"
        raise InputError(f"data.cache must be a folder {wanted}, got {cache}")

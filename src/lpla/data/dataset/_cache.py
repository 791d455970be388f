"""Decoded pixels on disk, mapped into memory: made once, checksummed, published in one rename."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
import torch
from filelock import FileLock
from jaxtyping import Int

from lpla.contracts.inputs import Images, InputError

log = logging.getLogger(__name__)

PIXELS, CONTENT = "pixels.bin", "content.json"


def mapped(
    cache: str,
    name: str,
    source: Mapping[str, Any],
    labels: Int[np.ndarray, " M"],
    shape: tuple[int, int, int],
    fill: Callable[[BinaryIO], list[int]],
) -> Images:
    """The images that `fill` writes one after the other, uint8 of `shape`; it returns which of `labels` they have.

    They are made again whenever `source` (what they were made from, and how) is new, or the file on disk is damaged.
    Raises InputError if `cache` cannot be written.
    """
    root = Path(cache).expanduser()
    key = sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()[:16]
    place = root / f"{name}-{key}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{place.name}.lock"):
            images = _find(place, name, labels)
            if images is None:
                _make(place, name, labels, shape, fill)
                images = _map(place, name, labels)
            return images
    except OSError as refused:
        size = f"{len(labels) * np.prod(shape) / 1e9:.1f} GB"
        problem = f"a folder that this user can write, with room for {size}, but {root} refused: {refused.strerror}"
        raise InputError(f"data.cache must be {problem}") from refused


def _find(place: Path, name: str, labels: Int[np.ndarray, " M"]) -> Images | None:
    """The images at `place` if they are there and whole; damaged ones are named and set aside."""
    if not place.exists():
        return None
    try:
        images = _map(place, name, labels)
        # Keys need the digest anyway, so that this test costs nothing.
        if images.digest == json.loads((place / CONTENT).read_text())["digest"]:
            return images
    except (OSError, ValueError, KeyError, IndexError) as unreadable:
        log.debug("%s: %s", place, unreadable)
    aside = place.with_name(f"damaged-{place.name}-{time.time_ns()}")
    place.rename(aside)
    log.warning("damaged images: %s does not match its checksum; set aside as %s and made again", place, aside)
    return None


def _make(
    place: Path,
    name: str,
    labels: Int[np.ndarray, " M"],
    shape: tuple[int, int, int],
    fill: Callable[[BinaryIO], list[int]],
) -> None:
    draft = place.with_name(f"unfinished-{place.name}-{uuid4().hex}")
    draft.mkdir()
    try:
        with (draft / PIXELS).open("wb") as out:
            kept = fill(out)
            out.flush()
            os.fsync(out.fileno())
        content: dict[str, Any] = {"shape": [len(kept), *shape], "kept": kept}
        (draft / CONTENT).write_text(json.dumps(content))
        content["digest"] = _map(draft, name, labels).digest
        (draft / CONTENT).write_text(json.dumps(content))
        draft.rename(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _map(place: Path, name: str, labels: Int[np.ndarray, " M"]) -> Images:
    content = json.loads((place / CONTENT).read_text())
    # Copy on write: nothing that is done to the tensor can change the file.
    pixels = np.memmap(place / PIXELS, dtype=np.uint8, mode="c", shape=tuple(content["shape"]))
    return Images(name, torch.from_numpy(pixels), torch.from_numpy(labels[content["kept"]]))

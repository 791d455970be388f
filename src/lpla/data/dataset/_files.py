"""Image files of any kind and size, decoded to squares of one size.

The rule: the picture as its EXIF orientation shows it, 8 bits of red, green and blue (grey repeated, transparency
dropped, of 16 bits the upper 8), of it the largest centred square, resized (antialiased bilinear) unless it fits.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from lpla.contracts.inputs import InputError

log = logging.getLogger(__name__)

RULE = 1
"""Raise it when a change here changes the pixels."""
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NAMED = 10
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What PIL raises for a damaged file, whatever its format."""


def image_files(root: Path) -> list[str]:
    """Paths below `root` of everything named like an image, sorted; hidden files are not looked at."""
    found = []
    for folder, _, names in os.walk(root):
        inside = Path(folder).relative_to(root)
        visible = (n for n in names if n.lower().endswith(SUFFIXES) and not n.startswith("."))
        found += [(inside / name).as_posix() for name in visible]
    return sorted(found)


def stamps(root: Path, names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file: what tells that a folder has changed."""
    found = ((root / name).stat() for name in names)
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, found, strict=True)]


def decode(path: Path, size: int, resize: bool) -> UInt8[np.ndarray, "3 size size"]:
    """One image by the rule; raises one of UNREADABLE if it is damaged, or has another size and must not be resized."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode in ("I", "F"):
            raise ValueError("it has 32 bits per pixel")
        if image.size != (size, size):
            if not resize:
                raise ValueError(f"it has {image.width} x {image.height} pixels instead of {size} x {size}")
            image = ImageOps.fit(_rgb(image), (size, size), Image.Resampling.BILINEAR)
        return np.asarray(_rgb(image)).transpose(2, 0, 1)


def filler(dataset: str, root: Path, names: Sequence[str], size: int, on_bad: str) -> Callable[[BinaryIO], list[int]]:
    """Decodes `names` into a file, one image after the other, and returns the positions of those that it wrote.

    Unreadable files raise an InputError that names them, once all were tried; with `on_bad` = "skip" they are left out
    and logged. With "refuse" images of another size count as unreadable.
    """

    def fill(out: BinaryIO) -> list[int]:
        kept, bad = [], {}
        console = Console(stderr=True)
        label = f"dataset={dataset}: decoding {len(names)} images"
        bar = track(names, label, console=console, transient=True, disable=not console.is_terminal)
        for position, name in enumerate(bar):
            try:
                out.write(decode(root / name, size, resize=on_bad != "refuse").tobytes())
                kept.append(position)
            except UNREADABLE as problem:
                bad[name] = str(problem).replace(f" {str(root / name)!r}", "")
        if bad and on_bad != "skip":
            raise InputError(_sentence(dataset, root, bad, len(names), on_bad))
        for name, problem in bad.items():
            log.warning("dataset=%s: skipped %s (%s)", dataset, root / name, problem)
        if not kept:
            raise InputError(f"dataset={dataset}: none of the {len(names)} images in {root} can be decoded")
        return kept

    return fill


def _rgb(image: Image.Image) -> Image.Image:
    # A palette with transparency loses it only by way of RGBA.
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")


def _sentence(dataset: str, root: Path, bad: dict[str, str], total: int, on_bad: str) -> str:
    listed = ", ".join(f"{name} ({problem})" for name, problem in list(bad.items())[:NAMED])
    more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    remedy = "get them again" if on_bad == "refuse" else "repair or remove them, or set dataset.on_bad_image=skip"
    return f"dataset={dataset}: {len(bad)} of {total} images in {root} cannot be used: {listed}{more}; {remedy}"

"""Image files of any kind and size, found below a folder and decoded to squares of one size.

The rule: the picture as its EXIF orientation shows it, 8 bits of red, green and blue (grey repeated, transparency
dropped, of grey values of more bits the upper 8), of it the largest centred square, resized (antialiased bilinear)
unless it fits.
"""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import listed
from lpla.data.dataset._cache import Decoded, mapped
from lpla.data.dataset._listing import Stamp, fingerprint

log = logging.getLogger(__name__)

RULE = 3
"""Raise it when a change here changes the pixels, or what is refused: copies that were decoded before are then not
read. (By rule 2, `bits` that were too few for a value cut off its upper ones.)"""
BYTES_PER_PIXEL = 14
"""Bytes that a pixel of a square takes at the peak of its decoding, as measured: twice Pillow's four, twice three."""
BITS = (8, 10, 12, 14, 16)
"""Bits of the values that cameras and scanners put into 16-bit files."""
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)
"""What PIL raises for a damaged file, whatever its format."""


def decode(path: Path, size: int, resize: bool, bits: int = 16) -> UInt8[np.ndarray, "3 size size"]:
    """One image by the rule; what PIL warns of is logged with its name.

    Args:
        path: of a regular file.
        size: of the square, in pixels.
        resize: whether images of another size are cropped and resized.
        bits: of the values in files of 16 bits per pixel.

    Raises:
        InputError: `bits` are too few for a value of it.
        UNREADABLE: one of them, if it is damaged, or has another size and must not be resized.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):
                values = np.asarray(image)
                if (most := int(values.max())) >= 2**bits:
                    wanted = f"at least {most.bit_length()}, as {path} has the value {most}"
                    raise InputError(f"dataset.bits must be null or {wanted}, got {bits}")
                image = Image.fromarray((values >> (bits - 8)).astype(np.uint8))
            elif image.mode in ("I", "F"):
                raise ValueError("it has 32 bits per pixel")
            if image.size != (size, size):
                if not resize:
                    raise ValueError(f"it has {image.width} x {image.height} pixels instead of {size} x {size}")
                image = ImageOps.fit(_rgb(image), (size, size), Image.Resampling.BILINEAR)
            pixels = np.asarray(_rgb(image)).transpose(2, 0, 1)
    for one in said:
        log.warning("%s: %s", path, one.message)
    return pixels


def bits_of(root: Path, names: Sequence[str]) -> int | None:
    """How many of `BITS` the largest value in any file of 16 bits per pixel needs; None if there is no such file."""
    most = None
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                with Image.open(root / name) as image:
                    if image.mode.startswith("I;16"):
                        most = max(most or 0, int(np.asarray(image).max()))
            except UNREADABLE as problem:
                log.debug("%s: %s", root / name, problem)  # `filler` names it.
    return None if most is None else next(bits for bits in BITS if most < 2**bits)


def decoded_files(
    dataset: str,
    root: Path,
    files: Sequence[Stamp],
    unusable: Mapping[str, str],
    cache: str,
    size: int,
    on_bad_image: str,
    bits: int | None,
) -> Decoded:
    """The pixels of files, decoded once for each state of the files and each way to decode them.

    Args:
        dataset: its name, for messages; the kind of the artifact.
        root: the folder of the files.
        files: the files' stamps, in the order of the images.
        unusable: further paths that are known to be unreadable, and why.
        cache: the folder of the store of decoded pixels.
        size: of the squares, in pixels.
        on_bad_image: "error", or "skip" to leave unreadable images out.
        bits: of the values in files of 16 bits per pixel; None: as many as the largest value of all files needs.

    Raises:
        InputError: `cache` cannot be written, or images cannot be decoded; with "skip" only if none can.
    """
    source = {
        "rule": RULE,
        "size": size,
        "on_bad_image": on_bad_image,
        "bits": bits,
        "root": str(root.resolve()),
        "files": fingerprint(files),
        "unusable": dict(unusable),
    }
    fill = filler(dataset, root, [name for name, _, _ in files], size, on_bad_image, unusable, bits)
    return mapped(cache, dataset, source, (len(files), 3, size, size), fill)


def filler(
    dataset: str,
    root: Path,
    names: Sequence[str],
    size: int,
    on_bad: str,
    unusable: Mapping[str, str] | None = None,
    bits: int | None = None,
) -> Callable[[BinaryIO], list[int]]:
    """Decodes files into one file, one image after the other, and returns the positions of those that it wrote.

    Args:
        dataset: its name, for messages.
        root: the folder of the files.
        names: the files' paths below `root`.
        size: of the squares, in pixels.
        on_bad: with "skip" unreadable files are left out and logged; with "error" or "refuse" an InputError names them
            all, once all were tried. With "refuse" images of another size count as unreadable.
        unusable: further paths that are known to be unreadable, and why.
        bits: of the values in files of 16 bits per pixel; None: as many as the largest value of all files needs.
    """

    def fill(out: BinaryIO) -> list[int]:
        kept, bad = [], dict(unusable or {})
        depth = bits or _told(dataset, bits_of(root, names))
        console = Console(stderr=True)
        label = f"dataset={dataset}: decoding {len(names)} images"
        bar = track(names, label, console=console, transient=True, disable=not console.is_terminal)
        for position, name in enumerate(bar):
            try:
                out.write(decode(root / name, size, on_bad != "refuse", depth).tobytes())
                kept.append(position)
            except InputError:
                raise  # of a setting, not of the file
            except UNREADABLE as problem:
                bad[name] = str(problem).replace(f" {str(root / name)!r}", "")
            except MemoryError as full:
                what = f"dataset={dataset}: {root / name} at {size} x {size} pixels"
                raise InputError(f"{what} needs more memory than this process may take; lower dataset.size") from full
        _report_bad(dataset, root, bad, len({*names, *bad}), on_bad)
        return kept

    return fill


def _report_bad(dataset: str, root: Path, bad: dict[str, str], total: int, on_bad: str) -> None:
    if bad and on_bad != "skip":
        raise InputError(_sentence(dataset, root, bad, total, on_bad))
    for name, problem in bad.items():
        log.warning("dataset=%s: skipped %s (%s)", dataset, root / name, problem)
    if len(bad) == total:
        raise InputError(f"dataset={dataset}: none of the {total} images in {root} can be decoded")


def _told(dataset: str, bits: int | None) -> int:
    if bits is not None:
        log.info("dataset=%s: the values in files of 16 bits are read as of %d bits, their largest", dataset, bits)
    return bits or max(BITS)


def _rgb(image: Image.Image) -> Image.Image:
    # A palette with transparency loses it only by way of RGBA.
    return (image.convert("RGBA") if image.mode == "P" else image).convert("RGB")


def _sentence(dataset: str, root: Path, bad: dict[str, str], total: int, on_bad: str) -> str:
    named = listed([f"{name} ({problem})" for name, problem in bad.items()])
    remedy = "get them again" if on_bad == "refuse" else "repair or remove them, or set dataset.on_bad_image=skip"
    return f"dataset={dataset}: {len(bad)} of {total} images in {root} cannot be used: {named}; {remedy}"

"""What the files of images say beside their pixels: by it members and non-members may be told apart without an encoder.

Read from the headers alone, so that 100,000 files take seconds, not minutes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image
from PIL.ExifTags import IFD, Base

from lpla.contracts.inputs import InputError

FACTS = ("width", "height", "log bytes", "luma quantisation", "chroma quantisation", "EXIF date", "no EXIF date",
         "modified")  # fmt: skip
"""Columns beside those of each format and each mode in which any of the files is."""
DATES = (Base.DateTimeOriginal, Base.DateTimeDigitized, Base.DateTime)
EXIF_DATE = "%Y:%m:%d %H:%M:%S"


def file_facts(root: Path, names: Sequence[str]) -> tuple[tuple[str, ...], Float[np.ndarray, "N F"]]:
    """Collect facts of image files.

    Args:
        root: the folder from which the names go.
        names: the files.

    Returns:
        The names of the features and their values, all finite: sides in pixels; the logarithm of the size in bytes;
        the mean of a JPEG's first and second quantisation table, 0 without one; the day on which EXIF says that the
        picture was taken, and the day on which the file was last changed, in days since 1970 (a file without an EXIF
        date has the median of the others', and 1 in a column of its own); 1 for its format and for its mode.

    Raises:
        InputError: a file has gone or is no image.
    """
    rows, kinds = [], []
    for name in names:
        try:
            numbers, kind = _facts(root / name)
        except (OSError, ValueError, SyntaxError) as gone:
            raise InputError(f"the facts of image file {root / name} cannot be read: {gone}") from gone
        rows.append(numbers)
        kinds.append(kind)
    facts = np.array(rows, dtype=np.float64).reshape(len(names), len(FACTS))
    absent = np.isnan(facts[:, FACTS.index("EXIF date")])
    facts[:, FACTS.index("no EXIF date")] = absent
    dated = facts[~absent, FACTS.index("EXIF date")]
    facts[absent, FACTS.index("EXIF date")] = np.median(dated) if len(dated) else 0.0
    words = sorted({word for kind in kinds for word in kind})
    marks = np.array([[word in kind for word in words] for kind in kinds], dtype=np.float64)
    return (*FACTS, *words), np.concatenate([facts, marks.reshape(len(names), len(words))], axis=1)


def _facts(path: Path) -> tuple[list[float], set[str]]:
    stat = path.stat()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The decoder has said it, with the file's name.
        with Image.open(path) as image:
            tables: Mapping[int, Sequence[int]] = getattr(image, "quantization", None) or {}
            luma, chroma = (float(np.mean(tables[number])) if number in tables else 0.0 for number in (0, 1))
            numbers = [image.width, image.height, float(np.log1p(stat.st_size)), luma, chroma]
            numbers += [_exif_date(image), 0.0, stat.st_mtime / 86_400]
            return numbers, {f"format {image.format}", f"mode {image.mode}"}


def _exif_date(image: Image.Image) -> float:
    """Days since 1970 when the picture was taken, by its own clock; nan where it does not say."""
    if "exif" not in image.info and image.format not in ("TIFF", "MPO"):
        return float("nan")  # In a PNG it may stand behind the pixels: to look there would decode the whole picture.
    exif = image.getexif()
    inner = exif.get_ifd(IFD.Exif)
    for tag in DATES:
        said = str(inner.get(tag) or exif.get(tag) or "").strip("\0 ")
        try:
            return datetime.strptime(said, EXIF_DATE).replace(tzinfo=UTC).timestamp() / 86_400
        except ValueError:
            continue  # Cameras whose clock was never set write zeros or blanks.
    return float("nan")

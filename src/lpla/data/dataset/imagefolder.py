"""Read any folder of images, decoded once; its subfolders are the classes, as in torchvision's ImageFolder."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from lpla.contracts.inputs import Dataset, Images, InputError, LeftOut
from lpla.data.dataset._cache import Decoded, check_outside
from lpla.data.dataset._files import decoded_files
from lpla.data.dataset._listing import SUFFIXES, Listing, image_files

log = logging.getLogger(__name__)

CHOICES = ("error", "skip")
PARTS = {"train", "training", "val", "valid", "validation", "test", "testing", "dev"}
"""Folders that hold a part of a data set rather than a class."""


class ImageFolder(Dataset):
    """Images in the order of their sorted relative paths, mapped from a cache of their decoded pixels."""

    def __init__(
        self,
        *,
        root: str = "data",
        cache: str = "data/decoded",
        size: int = 64,
        on_bad_image: str = "error",
        class_level: int = 1,
        bits: int | None = None,
    ) -> None:
        """Args:
        root: the folder of the images.
        cache: the folder in which decoded pixels are kept.
        size: side of the squares to which images are cropped and resized, in pixels.
        on_bad_image: `error`, or `skip` to leave unreadable images out.
        class_level: which folder below `root` names an image's class: 1 the first, 2 the second.
        bits: of the values in files of 16 bits per pixel; None: as many as the largest of them needs.
        """
        self.root, self.cache, self.size, self.on_bad_image = root, cache, size, on_bad_image
        self.class_level, self.bits = class_level, bits

    def load(self) -> Images:
        """Load all images as uint8 [N, 3, size, size]; label -1 for an image that is in no subfolder."""
        self._check()
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise InputError(f"dataset=imagefolder needs a folder of images, but data.root={root} is no folder")
        check_outside(self.cache, root, "data.root")
        found = image_files(root)
        names = found.names
        if not names:
            kinds, others = ", ".join(SUFFIXES), ", ".join(_left_out(found, []))
            problem = f"data.root={root} has none" + (f" beside {others}" if others else "")
            raise InputError(f"dataset=imagefolder needs a folder of images ({kinds}), but {problem}")
        labels = self._labels(root, names)
        decoded = decoded_files(
            "imagefolder", root, found.files, found.unusable, self.cache, self.size, self.on_bad_image, self.bits
        )
        # Said by every job, also by those that find the images decoded.
        left_out = _left_out(found, _skipped(names, decoded))
        kept = tuple(names[position] for position in decoded.kept)
        return decoded.images("imagefolder", labels, names=kept, left_out=left_out, root=root)

    def _labels(self, root: Path, names: Sequence[str]) -> Int[np.ndarray, " N"]:
        """Classes from 0 in the order of their names; raises InputError where folders are parts of a data set."""
        folders = [name.split("/")[:-1][self.class_level - 1 : self.class_level] for name in names]
        classes = sorted({folder[0] for folder in folders if folder})
        parts = [one for one in classes if one.lower() in PARTS]
        if self.class_level == 1 and (len(parts) > 1 or parts == classes != []):
            problem = f"but {' and '.join(parts)} {'look' if len(parts) > 1 else 'looks'} like parts of a data set"
            remedy = f"set data.root={root / parts[0]} to take one part, or dataset.class_level=2 to take all of them"
            raise InputError(
                f"dataset=imagefolder takes the folders of data.root={root} for classes, {problem}: {remedy}"
            )
        number = {name: label for label, name in enumerate(classes)}
        return np.array([number[folder[0]] if folder else -1 for folder in folders], dtype=np.int64)

    def _check(self) -> None:
        if self.on_bad_image not in CHOICES:
            raise InputError(f"dataset.on_bad_image must be {' or '.join(CHOICES)}, got {self.on_bad_image}")
        for name, unit in (("size", " (pixels)"), ("class_level", "")):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"dataset.{name} must be an integer >= 1{unit}, got {value}")
        if self.bits is not None and self.bits not in range(8, 17):
            raise InputError(f"dataset.bits must be null or an integer from 8 to 16, got {self.bits}")


def _skipped(names: Sequence[str], decoded: Decoded) -> list[str]:
    kept = set(decoded.kept)
    return [name for position, name in enumerate(names) if position not in kept]


def _left_out(found: Listing, skipped: Sequence[str]) -> tuple[LeftOut, ...]:
    """What of a folder is not among its images, each kind with its count; unreadable images and folders by name."""
    bad = [*found.unusable, *skipped]
    unreadable = [LeftOut(f"unreadable: {len(bad)}", bad)] if bad else []
    return (*unreadable, *(LeftOut(f"{kind}: {count}") for kind, count in sorted(found.others.items())))

"""Any folder of images, decoded once; its immediate subfolders are the classes, as in torchvision's ImageFolder."""

import logging
from pathlib import Path

import numpy as np

from lpla.contracts.inputs import Dataset, Images, InputError
from lpla.data.dataset._cache import mapped
from lpla.data.dataset._files import RULE, SUFFIXES, filler, image_files, stamps

log = logging.getLogger(__name__)

CHOICES = ("error", "skip")


class ImageFolder(Dataset):
    """Images in the order of their sorted relative paths, mapped from a cache of their decoded pixels."""

    def __init__(
        self, *, root: str = "data", cache: str = "data/decoded", size: int = 64, on_bad_image: str = "error"
    ) -> None:
        self.root, self.cache, self.size, self.on_bad_image = root, cache, size, on_bad_image

    def load(self) -> Images:
        """All images as uint8 [N, 3, size, size]; label -1 for an image that is in no subfolder."""
        self._check()
        root = Path(self.root).expanduser()
        if not root.is_dir():
            raise InputError(f"dataset=imagefolder needs a folder of images, but data.root={root} is no folder")
        names = image_files(root)
        if not names:
            kinds = ", ".join(SUFFIXES)
            raise InputError(f"dataset=imagefolder needs a folder of images ({kinds}), but data.root={root} has none")
        folders = [name.split("/")[0] if "/" in name else "" for name in names]
        label = {folder: number for number, folder in enumerate(sorted({*folders} - {""}))} | {"": -1}
        source = {
            "rule": RULE,
            "size": self.size,
            "on_bad_image": self.on_bad_image,
            "root": str(root.resolve()),
            "files": stamps(root, names),
        }
        labels = np.array([label[folder] for folder in folders], dtype=np.int64)
        fill = filler("imagefolder", root, names, self.size, self.on_bad_image)
        images = mapped(self.cache, "imagefolder", source, labels, (3, self.size, self.size), fill)
        if len(images) < len(names):
            # Said by every job, also by those that find the images decoded.
            log.warning("dataset=imagefolder: %d of %d images were skipped", len(names) - len(images), len(names))
        return images

    def _check(self) -> None:
        if self.on_bad_image not in CHOICES:
            raise InputError(f"dataset.on_bad_image must be {' or '.join(CHOICES)}, got {self.on_bad_image}")
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < 1:
            raise InputError(f"dataset.size must be an integer >= 1 (pixels), got {self.size}")

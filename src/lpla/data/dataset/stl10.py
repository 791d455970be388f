"""STL-10: 13,000 labelled and 100,000 unlabelled colour images of 96 x 96 pixels (Coates, Ng & Lee 2011)."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int
from torchvision import datasets

from lpla.contracts.inputs import Dataset, Images, InputError
from lpla.data.dataset._archives import need, parts_of, readable, verify
from lpla.data.dataset._cache import mapped
from lpla.data.dataset._listing import fingerprint, stamps

SIDE = 96
COUNTS = {"train": 5_000, "unlabeled": 100_000, "test": 8_000}
FOLDER = datasets.STL10.base_folder
URL = datasets.STL10.url
PIECE = 512
RULE = 1
"""Raise it when a change here changes the pixels."""


class STL10(Dataset):
    """Reads STL-10.

    torchvision's checksums; the files hold columns, so that they are turned once and mapped from a cache.
    """

    def __init__(
        self, *, root: str = "data", download: bool = False, cache: str = "data/decoded", part: str = "pooled"
    ) -> None:
        self.root, self.download, self.cache, self.part = root, download, cache, part

    def load(self) -> Images:
        """Train, unlabelled (label -1) and (part=pooled) test images as uint8 [N, 3, 96, 96]."""
        parts = parts_of(self.part, ("train", "unlabeled", "test"), ("train", "unlabeled"))
        root = Path(self.root).expanduser()
        folder = root / FOLDER
        need("stl10", folder, URL, self.download)
        if not folder.exists():
            self._verify(root)
        files = [folder / f"{part}_X.bin" for part in parts]
        for file in files:
            if not file.is_file():
                raise InputError(f"dataset=stl10 needs {file.name}, but {folder} has none; get {URL} again")
        stamped = fingerprint(stamps(folder, [file.name for file in files]))
        source = {"rule": RULE, "root": str(folder.resolve()), "files": stamped}
        labels = np.concatenate([_labels(folder, part) for part in parts])

        def fill(out: BinaryIO) -> list[int]:
            self._verify(root)
            for part, file in zip(parts, files, strict=True):
                columns = np.memmap(file, dtype=np.uint8, mode="r").reshape(-1, 3, SIDE, SIDE)
                verify("stl10", part, folder, (COUNTS[part], 3, SIDE, SIDE), (columns.shape, (COUNTS[part],)))
                for start in range(0, len(columns), PIECE):
                    out.write(columns[start : start + PIECE].transpose(0, 1, 3, 2).tobytes())
            return list(range(len(labels)))

        return mapped(self.cache, "stl10", source, (len(labels), 3, SIDE, SIDE), fill).images("stl10", labels)

    def _verify(self, root: Path) -> None:
        """torchvision tests the checksums of all files, whichever part it reads (and downloads them if it may)."""
        with readable("stl10", root / FOLDER, URL):
            datasets.STL10(str(root), split="test", download=self.download)


def _labels(folder: Path, part: str) -> Int[np.ndarray, " N"]:
    if part == "unlabeled":
        return np.full(COUNTS[part], -1)
    file = folder / f"{part}_y.bin"
    # Classes are counted from 1 in the file.
    labels = np.fromfile(file, dtype=np.uint8).astype(np.int64) - 1 if file.is_file() else np.empty(0, np.int64)
    if len(labels) != COUNTS[part]:
        raise InputError(f"dataset=stl10 needs {COUNTS[part]} labels in {file}, got {len(labels)}; get {URL} again")
    return labels

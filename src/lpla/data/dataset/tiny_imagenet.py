"""Tiny ImageNet: 110,000 labelled colour images of 64 x 64 pixels in 200 classes (Stanford CS231n; Le & Yang 2015)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lpla.contracts.inputs import Dataset, Images, InputError
from lpla.data.dataset._archives import parts_of
from lpla.data.dataset._cache import mapped
from lpla.data.dataset._files import RULE, filler
from lpla.data.dataset._listing import fingerprint, image_files, stamps

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
SIDE = 64
CLASSES = 200
COUNTS = {"train": 100_000, "val": 10_000}


class TinyImageNet(Dataset):
    """The unpacked archive's folders, decoded once; upstream's test part has no labels and is left out."""

    def __init__(self, *, root: str = "data", cache: str = "data/decoded", part: str = "pooled") -> None:
        self.root, self.cache, self.part = root, cache, part

    def load(self) -> Images:
        """The training images, then (part=pooled) the validation images, each sorted by path: uint8 [N, 3, 64, 64]."""
        parts = parts_of(self.part, ("train", "val"), ("train",))
        root = Path(self.root).expanduser() / "tiny-imagenet-200"
        if not root.is_dir():
            raise InputError(
                f"dataset=tiny_imagenet needs the folder tiny-imagenet-200 in data.root, but {root} does not exist; "
                f"unpack {URL} there, or set data.root to the folder that holds it"
            )
        label = _classes(root)
        names: list[str] = []
        labels: list[int] = []
        for part in parts:
            found = [f"{part}/{name}" for name in image_files(root / part).names]
            if len(found) != COUNTS[part]:
                raise _error(root, f"{part} must hold {COUNTS[part]} images, got {len(found)}")
            wnids = [name.split("/")[1] for name in found] if part == "train" else _annotated(root, found)
            if strange := sorted({*wnids} - {*label}):
                raise _error(root, f"{strange[0]} is a class of a {part} image, but not in wnids.txt")
            names += found
            labels += [label[wnid] for wnid in wnids]
        source = {"rule": RULE, "root": str(root.resolve()), "files": fingerprint(stamps(root, names))}
        fill = filler("tiny_imagenet", root, names, SIDE, "refuse")
        decoded = mapped(self.cache, "tiny_imagenet", source, (len(names), 3, SIDE, SIDE), fill)
        return decoded.images("tiny_imagenet", np.array(labels), names=tuple(names), root=root)


def _classes(root: Path) -> dict[str, int]:
    file = root / "wnids.txt"
    wnids = sorted(file.read_text().split()) if file.is_file() else []
    if len(wnids) != CLASSES:
        raise _error(root, f"wnids.txt must name {CLASSES} classes, got {len(wnids)}")
    return {wnid: number for number, wnid in enumerate(wnids)}


def _annotated(root: Path, names: Sequence[str]) -> list[str]:
    """The classes of the validation images, which stand in a table beside them."""
    file = root / "val" / "val_annotations.txt"
    rows = [line.split("\t") for line in file.read_text().splitlines()] if file.is_file() else []
    wnid = {row[0]: row[1] for row in rows if len(row) > 1}
    files = [Path(name).name for name in names]
    if missing := [name for name in files if name not in wnid]:
        problem = f"val/val_annotations.txt must label every image, but {missing[0]} has no label"
        raise _error(root, f"{problem} ({len(missing)} of {len(files)} have none)")
    return [wnid[name] for name in files]


def _error(root: Path, problem: str) -> InputError:
    return InputError(f"dataset=tiny_imagenet: in {root} {problem}; unpack {URL} again")

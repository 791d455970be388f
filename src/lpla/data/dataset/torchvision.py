"""Data sets that torchvision loads: its train and test parts, with its own checksums, as one pool of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from lpla.contracts.inputs import Dataset, Images, InputError
from lpla.data.dataset._archives import need, parts_of, readable, verify

Part = tuple[UInt8[np.ndarray, "N C H W"], Int[np.ndarray, " N"]]
Reader = Callable[[str, str, bool], Part]
"""(data.root, part, download) -> the pixels and labels of a part."""


@dataclass(frozen=True)
class Source:
    """What torchvision reads, where it looks for it, and what it must find there."""

    place: str
    """A file or folder in data.root that is there if the data set is."""
    url: str
    counts: dict[str, int]
    """Images of the parts `train` and `test`."""
    shape: tuple[int, int, int]
    read: Reader


class Torchvision(Dataset):
    """A data set of `SOURCES`, chosen by its name; a yaml of the group `dataset` for each of them chooses its views."""

    def __init__(self, *, name: str, root: str = "data", download: bool = False, part: str = "pooled") -> None:
        """Args:
        name: one of the keys of `SOURCES`.
        root: the folder in which torchvision looks for the data set's own folder or files.
        download: whether to fetch what is absent.
        part: `pooled` (train and test images) or `train`.
        """
        if name not in SOURCES:
            raise InputError(f"dataset.name must be one of {', '.join(SOURCES)}, got {name}")
        self.name, self.root, self.download, self.part = name, root, download, part

    def load(self) -> Images:
        """Return the training images, then (part=pooled) the test images, as uint8 [N, C, H, W].

        Raises InputError with the remedy if the files are absent or damaged, or hold other counts or shapes.
        """
        source, root = SOURCES[self.name], Path(self.root).expanduser()
        names = parts_of(self.part, ("train", "test"), ("train",))
        place = root / source.place
        need(self.name, place, source.url, self.download)
        with readable(self.name, place, source.url):
            parts = [source.read(str(root), name, self.download) for name in names]
        for name, (pixels, labels) in zip(names, parts, strict=True):
            verify(self.name, name, place, (source.counts[name], *source.shape), (pixels.shape, labels.shape))
        pixels = np.concatenate([pixels for pixels, _ in parts])
        labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
        return Images(self.name, torch.from_numpy(pixels), torch.from_numpy(labels))


def _cifar(kind: type[datasets.CIFAR10]) -> Reader:
    """The reader of CIFAR-10 or CIFAR-100."""

    def read(root: str, part: str, download: bool) -> Part:
        found = kind(root, train=part == "train", download=download)
        return np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)), np.asarray(found.targets)

    return read


def _fashion_mnist(root: str, part: str, download: bool) -> Part:
    # Upstream has checksums of the archives alone, and torchvision tests them only when it downloads.
    for name, md5 in datasets.FashionMNIST.resources:
        archive = Path(root) / "FashionMNIST" / "raw" / name
        if archive.exists() and not check_integrity(archive, md5):
            raise RuntimeError(f"{archive} fails its checksum")
    found = datasets.FashionMNIST(root, train=part == "train", download=download)
    return found.data.unsqueeze(1).numpy(), found.targets.numpy()


def _svhn(root: str, part: str, download: bool) -> Part:
    # The two files lie in data.root itself; the digit 0 has label 0.
    found = datasets.SVHN(root, split=part, download=download)
    return np.ascontiguousarray(found.data), found.labels


SOURCES = {
    "cifar10": Source(
        place=datasets.CIFAR10.base_folder,
        url=datasets.CIFAR10.url,
        counts={"train": 50_000, "test": 10_000},
        shape=(3, 32, 32),
        read=_cifar(datasets.CIFAR10),
    ),
    "cifar100": Source(
        place=datasets.CIFAR100.base_folder,
        url=datasets.CIFAR100.url,
        counts={"train": 50_000, "test": 10_000},
        shape=(3, 32, 32),
        read=_cifar(datasets.CIFAR100),
    ),
    "fashion_mnist": Source(
        place="FashionMNIST",
        url=datasets.FashionMNIST.mirrors[0],
        counts={"train": 60_000, "test": 10_000},
        shape=(1, 28, 28),
        read=_fashion_mnist,
    ),
    "svhn": Source(
        place="train_32x32.mat",
        url="http://ufldl.stanford.edu/housenumbers",
        counts={"train": 73_257, "test": 26_032},
        shape=(3, 32, 32),
        read=_svhn,
    ),
}

"""Pool the train and test parts of a torchvision data set into one Images, with torchvision's own checksums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torchvision import datasets

from lpla.contracts.inputs import Images, InputError

Part = tuple[UInt8[np.ndarray, "N C H W"], Int[np.ndarray, " N"]]


@dataclass(frozen=True)
class Source:
    """What torchvision reads, where it looks for it, and what it must find there."""

    name: str
    place: str
    """A file or folder in data.root that is there if the data set is."""
    url: str
    counts: dict[str, int]
    """Images of the parts `train` and `test`."""
    shape: tuple[int, int, int]
    read: Callable[[str, str, bool], Part]
    """(data.root, part, download) -> the pixels and labels of a part."""


def load_pool(source: Source, root: str, download: bool, part: str) -> Images:
    """The training images, then (part=pooled) the test images; raises InputError with the remedy if they are not there.

    Damaged files and files of other counts or shapes are refused too.
    """
    names = parts_of(part, ("train", "test"), ("train",))
    place = Path(root).expanduser() / source.place
    need(source.name, place, source.url, download)
    with readable(source.name, place, source.url):
        parts = [source.read(str(Path(root).expanduser()), name, download) for name in names]
    for name, (pixels, labels) in zip(names, parts, strict=True):
        verify(source.name, name, place, (source.counts[name], *source.shape), (pixels.shape, labels.shape))
    pixels = np.concatenate([pixels for pixels, _ in parts])
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return Images(source.name, torch.from_numpy(pixels), torch.from_numpy(labels))


def read_cifar(kind: type[datasets.CIFAR10]) -> Callable[[str, str, bool], Part]:
    """The reader of CIFAR-10 or CIFAR-100."""

    def read(root: str, part: str, download: bool) -> Part:
        found = kind(root, train=part == "train", download=download)
        return np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)), np.asarray(found.targets)

    return read


def parts_of(part: str, pooled: Sequence[str], train: Sequence[str]) -> Sequence[str]:
    """The parts that members and non-members are drawn from; raises InputError if `part` is no choice."""
    choices = {"pooled": pooled, "train": train}
    if part not in choices:
        raise InputError(f"dataset.part must be pooled (train and test) or train, got {part}")
    return choices[part]


def need(name: str, place: Path, url: str, download: bool) -> None:
    """Raise InputError with the remedy if `place` does not exist and is not to be downloaded."""
    if not place.exists() and not download:
        raise InputError(
            f"dataset={name} needs the {'file' if place.suffix else 'folder'} {place.name} in data.root, but {place} "
            f"does not exist; set data.root to the folder that holds it, or data.download=true to fetch it from {url}"
        )


@contextmanager
def readable(name: str, place: Path, url: str) -> Iterator[None]:
    """What torchvision raises for damaged files or a failed download, as an InputError with the remedy."""
    try:
        yield
    except OSError as failed:
        reason = f"{failed}; get it by hand and set data.root to the folder that holds it"
        raise InputError(f"dataset={name} could not be read at {place} nor fetched from {url}: {reason}") from failed
    except (RuntimeError, ValueError, AssertionError, EOFError) as damaged:
        problem = f"the files of {place} are incomplete or fail torchvision's checksums"
        raise InputError(f"dataset={name}: {problem}; delete them and get them again (data.download=true)") from damaged


def verify(
    name: str, part: str, place: Path, expected: tuple[int, ...], found: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    """Raise InputError unless pixels of the `expected` shape and as many labels were found."""
    pixels, labels = found
    if pixels != expected or labels != expected[:1]:
        wanted, got = (f"{shape[0]} of {' x '.join(map(str, shape[1:]))}" for shape in (expected, pixels))
        raise InputError(
            f"dataset={name} must have as {part} images {wanted}, each with a label, but {place} holds {got} and "
            f"{labels[0]} labels"
        )

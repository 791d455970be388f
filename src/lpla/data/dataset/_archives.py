"""What an archive must hold: which of its parts are taken, and sentences for files that are absent or damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lpla.contracts.inputs import InputError


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

"""`memberships.csv`: which images each of a user's own encoders was trained on, by the contents of their files.

A row for each image: its file and SHA-256, then a column for each encoder, 1 for an image that it was trained on and 0
for others. What stands there is about contents: where a file has changed since, the row says nothing of it any more.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from lpla.contracts.inputs import Images, InputError
from lpla.contracts.settings import listed

FILE, HASH = "file", "sha256"
INSIDE = {"0": False, "1": True}
FEW = 5
"""Files, at most, that a sentence names."""


def write_memberships(path: Path, images: Images, encoders: Mapping[str, Bool[np.ndarray, " N"]]) -> None:
    """Write a table of who was trained on what.

    Args:
        path: the file to write; it is its owner's alone, as who was a member may be nobody else's to read.
        images: of files whose hashes are known.
        encoders: name of an encoder -> whether each image is inside.

    Raises:
        ValueError: If the images are no files, and so have no hashes.
    """
    if images.names is None or images.file_hashes is None:
        raise ValueError(f"memberships are of files with hashes, which {images.name} does not have")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([FILE, HASH, *encoders])
    columns = [row.astype(int).tolist() for row in encoders.values()]
    writer.writerows(zip(images.names, images.file_hashes, *columns, strict=True))
    path.touch(mode=0o600)
    path.write_text(text.getvalue(), encoding="utf-8")


def memberships(path: Path, images: Images) -> dict[str, Bool[np.ndarray, " N"]]:
    """Read who was trained on what.

    Args:
        path: a CSV with a header: the columns `sha256` and `file` or one of them, and a column for each encoder.
        images: of files whose hashes are known. Those of the list `unseen` may have no row: no encoder has seen them.

    Returns:
        Name of an encoder -> whether each image is inside, in the order of the columns.

    Raises:
        InputError: the table is none, names an image twice or otherwise than 0 and 1, or does not fit the files as they
            are: a row without an image, an image without a row, a file with other contents.
    """
    if images.names is None or images.file_hashes is None:
        raise InputError(f"{path.name} is about files, which the images of dataset={images.name} are not")
    header, rows = _table(path)
    identified = [name for name in (HASH, FILE) if name in header]
    encoders = [name for name in header if name not in identified]
    if not identified or not encoders:
        problem = f"got the columns {', '.join(header)}"
        raise InputError(f"{path} must have a column {HASH} or {FILE} and a column for each encoder, {problem}")
    waiting = _waiting(images, HASH in identified)
    found = {name: np.zeros(len(images), dtype=bool) for name in encoders}
    strange: list[str] = []
    met: set[int] = set()
    for number, row in enumerate(rows, start=2):
        who, file = row[identified[0]].strip(), row.get(FILE, "").strip().replace("\\", "/")
        alike = waiting.get(who.lower() if identified[0] == HASH else file)
        if not alike:
            strange.append(file or who)
            continue
        # Files of equal contents are told apart by their names, where these are given.
        at = next((one for one in alike if images.names[one] == file), alike[0])
        if at in met:
            raise InputError(f"{path} must have one row for each image, got two for {images.names[at]}")
        met.add(at)
        for name in encoders:
            if (value := row[name].strip()) not in INSIDE:
                raise InputError(f"{path}, line {number}, column {name} must be 0 or 1, got {value!r}")
            found[name][at] = INSIDE[value]
        if len(alike) > 1:
            alike.remove(at)
    _refuse_misfits(path, images, strange, met)
    return found


def files_inside(path: Path) -> dict[str, dict[str, str]]:
    """Read the table without reading the files: for each encoder the files inside and their SHA-256.

    Raises InputError if the table is none, or lacks one of the columns `file` and `sha256`.
    """
    header, rows = _table(path)
    if not {FILE, HASH} <= {*header}:
        raise InputError(f"{path} must have the columns {FILE} and {HASH}, got {', '.join(header)}")
    encoders = [name for name in header if name not in (FILE, HASH)]
    return {name: {row[FILE]: row[HASH] for row in rows if row[name].strip() == "1"} for name in encoders}


def _table(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    try:
        reader = csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline=""), restval="")
        rows = [{name: value for name, value in row.items() if name is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as unreadable:
        raise InputError(f"{path} must be a CSV of memberships, but cannot be read: {unreadable}") from unreadable
    header = list(reader.fieldnames or [])
    if len({*header}) < len(header):
        raise InputError(f"{path} must have a name of its own for each column, got {', '.join(header)}")
    return header, rows


def _waiting(images: Images, by_hash: bool) -> dict[str, list[int]]:
    """What a row may say of who it is about -> the images that it may be."""
    identities = images.file_hashes if by_hash else images.names
    assert identities is not None
    found: dict[str, list[int]] = {}
    for at, identity in enumerate(identities):
        found.setdefault(identity, []).append(at)
    return found


def _refuse_misfits(path: Path, images: Images, strange: Sequence[str], met: set[int]) -> None:
    remedy = "the table is about files as they were, so make it anew or bring these files back"
    if strange:
        gone = f"{len(strange)} rows of files that are gone or changed: {listed(strange, FEW)}"
        raise InputError(f"{path} has {gone}; {remedy}")
    assert images.names is not None
    unseen = [images.lists is not None and images.lists[at] == "unseen" for at in range(len(images))]
    absent = [name for at, name in enumerate(images.names) if at not in met and not unseen[at]]
    if absent:
        raise InputError(f"{path} has no row for {len(absent)} images: {listed(absent, FEW)}; {remedy}")

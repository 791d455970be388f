"""Shadows that stand in memory, written as the folder that target.shadows reads: whom each held, and its function."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from lpla.auditing.own_shadows import ENCODER, TABLE
from lpla.contracts.inputs import Images, InputError
from lpla.contracts.settings import shown
from lpla.data.memberships import write_memberships
from lpla.work.plug_in import Config

PAIRS = "a folder of `lpla shadows run`, or pairs (function, images that it was trained on), at least 1"
"""What `shadows` may be."""
OF_ARRAYS = "a mask or the places of the images that it was trained on, counted over members, nonmembers and unseen"
OF_FILES = "a folder or a list (a file) of the images that it was trained on"


def pairs_of(shadows: Any) -> list[tuple[Any, Any]]:
    """The shadows with what they were trained on; raises InputError for anything but pairs."""
    found = list(shadows) if isinstance(shadows, Sequence) and not isinstance(shadows, str) else []
    if not found or not all(isinstance(one, tuple | list) and len(one) == 2 for one in found):
        got = f"{len(found)} of other things" if found else shown(shadows)
        raise InputError(f"shadows must be {PAIRS}, got {got}")
    return [(encode, inside) for encode, inside in found]


def write_shadows(
    folder: Path, calls: Sequence[str], inside: Sequence[Any], images: Images, dataset: Config, files: Sequence[Path]
) -> None:
    """Write `memberships.csv` and, for each shadow, the name of its function.

    Args:
        folder: where; it is made.
        calls: the functions' names, module:function.
        inside: for each of them what it was trained on: a mask or places among `files`, or a folder or a list.
        images: the audit's.
        dataset: the settings of these images.
        files: those of the images, in the order in which the user gave them; none where they are files of the user's.

    Raises:
        InputError: for what no image is known by.
    """
    at = {path: place for place, path in enumerate(_paths(images))}
    order = np.array([at[path.resolve()] for path in files], dtype=int)
    table: dict[str, Bool[np.ndarray, " N"]] = {}
    for number, one in enumerate(inside):
        name, setting = f"shadow_{number + 1}", f"the images of shadows[{number}]"
        of_files = isinstance(one, str | Path)
        table[name] = _by_content(one, setting, images, dataset) if of_files else _by_place(one, setting, order, images)
    folder.mkdir()
    write_memberships(folder / TABLE, images, table)
    for name, call in zip(table, calls, strict=True):
        (folder / name).mkdir()
        (folder / name / ENCODER).write_text(call)


def _paths(images: Images) -> list[Path]:
    assert images.root is not None and images.names is not None
    return [images.root / name for name in images.names]


def _by_place(inside: Any, setting: str, order: Int[np.ndarray, " n"], images: Images) -> Bool[np.ndarray, " N"]:
    """Whether each image is meant by a mask or by places among those that the user gave, in their order."""
    if not len(order):
        raise InputError(f"{setting} must be {OF_FILES}, as the audit's images are files, got {shown(inside)}")
    given = np.asarray(inside)
    wanted = f"{OF_ARRAYS}: {len(order)} images"
    if given.ndim != 1 or given.dtype.kind not in "biu" or not len(given):
        raise InputError(f"{setting} must be {wanted}, got {given.dtype} {list(given.shape)}")
    if given.dtype.kind == "b":
        if len(given) != len(order):
            raise InputError(f"{setting} must be {wanted}, got a mask of {len(given)}")
        given = np.flatnonzero(given)
    elif given.min() < 0 or given.max() >= len(order):
        raise InputError(f"{setting} must be {wanted}, got places from {given.min()} to {given.max()}")
    found = np.zeros(len(images), dtype=bool)
    found[order[given]] = True
    return found


def _by_content(given: str | Path, setting: str, images: Images, dataset: Config) -> Bool[np.ndarray, " N"]:
    """Whether the content of each image's file is that of a file in a folder or a list."""
    from lpla.data.dataset._hashing import file_hashes
    from lpla.data.dataset._listing import stamps
    from lpla.data.dataset._lists import Below, name_below, named_images

    below = Below(Path(dataset["root"]).expanduser(), dataset["cache"])
    named = named_images(str(given), setting, below)
    files = stamps(below.root, [name_below(path, below.root) for path in named.files])
    inside = {*file_hashes(below.cache, below.root, files).values()}
    assert images.file_hashes is not None
    found = np.array([one in inside for one in images.file_hashes])
    if not found.any():
        raise InputError(f"{setting} must have some of the images of the audit among them, got none in {given}")
    return found

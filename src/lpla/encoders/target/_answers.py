"""Tables of embeddings as programs write them: .npy, .npz, CSV and parquet, known by their first bytes; no pickle."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from lpla.contracts.extras import missing_package
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import listed

ID, EMBEDDING = "id", "embedding"
NUMBERED = re.compile(r"(?:.*[/\\])?0*(\d{1,18})(?:\.0+|\.[A-Za-z]\w*)?")
"""An id, or the name of the file that it names."""
NAMED = 5
"""Ids that a message names."""


@dataclass(frozen=True)
class Answers:
    """The rows of a table; without ids they are in the order of the ids."""

    ids: Int64[np.ndarray, " R"] | None
    values: Float32[np.ndarray, "R D"]


def read_answers(file: Path) -> Answers:
    """Read a table, of whatever kind it is; raises InputError for what is none, or would have to be unpickled."""
    try:
        with file.open("rb") as opened:
            head = opened.read(6)
    except OSError as refused:
        raise InputError(f"target.file={file} cannot be read: {refused.strerror}") from refused
    if head == b"\x93NUMPY":
        return Answers(None, _matrix(_loaded(file), file))
    if head.startswith(b"PK"):
        return _of_archive(file)
    if head.startswith(b"PAR1"):
        return _of_parquet(file)
    if head[:1] == b"\x80":
        raise InputError(_no_pickle(file))
    return _of_csv(file)


def in_order_of_ids(found: Answers, planned: Sequence[int], file: str) -> Float32[np.ndarray, "V D"]:
    """Return a row for each planned id, in their order.

    Args:
        found: the table's rows.
        planned: the ids, which count from 0.
        file: the table's name, for messages.

    Raises:
        InputError: an id is missing, comes twice or was not planned.
    """
    must = f"target.file={file} must have one row for each of the {len(planned)} planned views"
    if found.ids is None:
        if len(found.values) != len(planned):
            raise InputError(f"{must}, in the order of the ids, got {len(found.values)} rows")
        return found.values
    known, counts = np.unique(found.ids, return_counts=True)
    wrong = {
        "misses the ids": np.setdiff1d(np.arange(len(planned)), known),
        "has several rows for the ids": known[counts > 1],
        "has rows for ids that were not planned,": known[known >= len(planned)],
    }
    if said := [f"{what} {listed([str(one) for one in ids], NAMED)}" for what, ids in wrong.items() if len(ids)]:
        raise InputError(f"{must}, but {', and '.join(said)}")
    return found.values[np.argsort(found.ids)]


def _no_pickle(file: Path) -> str:
    return f"target.file={file} must hold an array of numbers, but holds pickled Python objects, which are not read"


def _loaded(file: Path) -> Any:
    """The array that numpy reads, or several by their names; never a pickle."""
    try:
        with file.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}
    except ValueError as refused:
        if "pickle" in str(refused).lower():
            raise InputError(_no_pickle(file)) from refused
        raise InputError(f"target.file={file} cannot be read as an array: {refused}") from refused
    except (OSError, EOFError, zipfile.BadZipFile) as damaged:
        raise InputError(f"target.file={file} cannot be read as an array: {damaged}") from damaged


def _matrix(array: Any, file: Path) -> Float32[np.ndarray, "R D"]:
    if not isinstance(array, np.ndarray):  # numpy reads any file of an archive, as bytes if it is none of its own
        raise InputError(f"target.file={file} must be an archive of arrays, as numpy writes it")
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] < 2 or not len(array):
        got = f"{array.dtype} {list(array.shape)}"
        raise InputError(f"target.file={file} must be an array [views, width of 2 or more] of real numbers, got {got}")
    return np.ascontiguousarray(array, dtype=np.float32)


def _numbers(ids: Sequence[Any], file: Path) -> Int64[np.ndarray, " R"]:
    """Ids as numbers, of what a program made of them: numbers, texts, names of files."""
    found = [NUMBERED.fullmatch(str(one)) for one in ids]
    if None in found:
        wrong = str(ids[found.index(None)])
        raise InputError(
            f"target.file={file} must have in its column {ID} a planned id, or its file's name, got {wrong}"
        )
    return np.array([int(one[1]) for one in found if one], dtype=np.int64)


def _of_archive(file: Path) -> Answers:
    arrays = _loaded(file)
    ids = arrays.pop(ID, None)
    name = EMBEDDING if EMBEDDING in arrays else next(iter(arrays), "")
    if not name or (len(arrays) > 1 and name != EMBEDDING):
        got = listed(sorted(arrays), NAMED) or "none"
        raise InputError(f"target.file={file} must hold the arrays {ID} and {EMBEDDING}, got beside {ID} {got}")
    return _with_ids(None if ids is None else np.atleast_1d(ids).tolist(), _matrix(arrays[name], file), file)


def _of_csv(file: Path) -> Answers:
    must = f"target.file={file} must be a table (.npy, .npz, .parquet, or CSV in UTF-8 with a header)"
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            header = [one.strip() for one in next(csv.reader(opened), [])]
        if ID not in header:
            raise InputError(
                f"{must} with a column {ID}, got the columns {listed(header, NAMED) or 'of an empty file'}"
            )
        place = header.index(ID)
        ids: list[str] = []
        keep: Any = {place: lambda cell: float(ids.append(cell) or 0)}
        table = np.loadtxt(
            file,
            delimiter=",",
            skiprows=1,
            ndmin=2,
            encoding="utf-8-sig",
            quotechar='"',
            converters=keep,
            comments=None,
        )
    except UnicodeDecodeError as other:
        raise InputError(f"{must}, but byte {other.start} is not UTF-8") from other
    except ValueError as wrong:
        if isinstance(wrong, InputError):
            raise
        raise InputError(f"{must} of numbers alone beside {ID}, but {wrong}") from wrong
    return _with_ids(ids[-len(table) :], _matrix(np.delete(table, place, axis=1), file), file)


def _of_parquet(file: Path) -> Answers:
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError as absent:
        raise missing_package(f"target.file={file}", "pyarrow") from absent
    try:
        table = parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as damaged:
        raise InputError(f"target.file={file} is no parquet file that can be read: {damaged}") from damaged
    if ID not in table.column_names:
        raise InputError(f"target.file={file} must have a column {ID}, got {listed(table.column_names, NAMED)}")
    others = [name for name in table.column_names if name != ID]
    columns = [table.column(name).to_pylist() for name in others]
    try:
        nested = len(columns) == 1 and isinstance(next(iter(columns[0]), None), list)
        values = np.array(columns[0] if nested else columns, dtype=np.float64)
    except (ValueError, TypeError) as uneven:
        raise InputError(f"target.file={file} must have numbers alone beside {ID}, but {uneven}") from uneven
    return _with_ids(table.column(ID).to_pylist(), _matrix(values if nested else values.T, file), file)


def _with_ids(ids: Sequence[Any] | None, values: np.ndarray, file: Path) -> Answers:
    if ids is None:
        return Answers(None, values)
    if len(ids) != len(values):
        raise InputError(f"target.file={file} must have an id for each row, got {len(ids)} for {len(values)} rows")
    return Answers(_numbers([*ids], file), values)

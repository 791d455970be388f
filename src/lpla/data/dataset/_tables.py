"""Lists of images as users have them: text, CSV or parquet; which of its columns names the images is for the caller."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from lpla.contracts.extras import missing_package
from lpla.contracts.inputs import InputError

DELIMITERS = ",;\t "
PARQUET = b"PAR1"
BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Byte-order marks of the texts that PowerShell writes; that of UTF-8 needs no entry."""
HEAD = 4096


def columns_of(file: Path, setting: str) -> Iterator[list[str]]:
    """Read a list in every way that could make sense: whole lines, then the columns by each delimiter.

    Args:
        file: a text, a CSV (quoted or not, with or without a header) or a parquet file.
        setting: what names the file, for messages.

    Returns:
        Columns of entries without blanks around them, in the order of the rows; an absent cell is empty. A blank line
        is no row.

    Raises:
        InputError: the file cannot be read, is no list, or is empty.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD)
        parquet = head.startswith(PARQUET)
        text = "" if parquet else _text(file, head, setting)
    except OSError as refused:
        raise InputError(f"{setting}={file} cannot be read: {refused.strerror}") from refused
    if parquet:
        yield from _parquet_columns(file, setting)
        return
    lines = [line.strip() for line in io.StringIO(text, newline=None) if line.strip()]
    if not lines:
        raise InputError(f"{setting} must name images, got the empty list {file}")
    yield lines
    for delimiter in DELIMITERS:
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True))
        except csv.Error:
            continue  # It is no table with this delimiter, and may be one with another.
        yield from _columns([row for row in rows if any(cell.strip() for cell in row)])


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    for column in range(max(map(len, rows), default=0)):
        yield [row[column].strip() if column < len(row) else "" for row in rows]


def _text(file: Path, head: bytes, setting: str) -> str:
    encoding = next((name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), "utf-8-sig")
    kinds = f"{setting} must be a folder of images or a list of them (text, CSV or parquet)"
    if encoding == "utf-8-sig" and b"\0" in head:
        raise InputError(f"{kinds}, got {file}, which is none of these")
    try:
        return file.read_text(encoding)
    except UnicodeDecodeError as other:
        raise InputError(f"{kinds} in UTF-8, got {file}, whose byte {other.start} is not") from other


def _parquet_columns(file: Path, setting: str) -> Iterator[list[str]]:
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ImportError as absent:
        raise missing_package(f"{setting}={file}", "pyarrow") from absent
    try:
        found = parquet.ParquetFile(file)
        texts = [one.name for one in found.schema_arrow if one.type in (pyarrow.string(), pyarrow.large_string())]
        table = found.read(columns=texts)
    except (pyarrow.ArrowException, OSError) as damaged:
        raise InputError(f"{setting}={file} is no parquet file that can be read: {damaged}") from damaged
    if not table.num_rows:
        raise InputError(f"{setting} must name images, got the empty list {file}")
    if not texts:
        raise InputError(f"{setting} must have a column of texts that name images, but {file} has none")
    for column in table.columns:
        yield [(entry or "").strip() for entry in column.to_pylist()]

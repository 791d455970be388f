"""Notes of many rows in few lines: those that differ in the layer or in numbers alone are one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lpla.contracts.settings import listed
from lpla.report.rows import Row

NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?![\w.]*\w=)")
"""Digits that stand by themselves or before a unit; none within a word or a name."""


def grouped(rows: Sequence[Row]) -> list[str]:
    """Every note of the rows, in their order, alike ones in one line.

    Two notes are alike if they are the same but for the layer of which they speak, or but for their numbers, of which
    the line then lists all.
    """
    layers = sorted({str(row["layer"]) for row in rows}, key=len, reverse=True)
    spoken: dict[tuple[str, str], list[str]] = {}
    for note in dict.fromkeys(note for row in rows for note in row["notes"]):
        before, layer, after = _parted(note, layers)
        spoken.setdefault((before, after), []).append(layer)
    return _by_numbers([f"{a}{', '.join(filter(None, among))}{b}" for (a, b), among in spoken.items()])


def _parted(note: str, layers: Sequence[str]) -> tuple[str, str, str]:
    """What stands before the layer of a note, the layer and the rest; no layer, no parts."""
    for layer in layers:
        if found := re.match(rf"((?:attack=[^,]+, )?)({re.escape(layer)})(: .*)", note, re.DOTALL):
            return found[1], found[2], found[3]
    return note, "", ""


def _by_numbers(notes: Sequence[str]) -> list[str]:
    alike: dict[str, list[list[str]]] = {}
    for note in notes:
        alike.setdefault(NUMBER.sub("\0", note), []).append(NUMBER.findall(note))
    return [_listing(pattern, found) for pattern, found in alike.items()]


def _listing(pattern: str, found: Sequence[Sequence[str]]) -> str:
    """The sentence with, in the place of each number, all that stand there."""
    first, *rest = pattern.split("\0")
    said = first
    for values, text in zip(zip(*found, strict=True), rest, strict=True):
        said += listed(list(dict.fromkeys(values))) + text
    return said

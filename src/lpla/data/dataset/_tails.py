"""Files by the ends of their paths, so that a list from another machine, or another folder, still names them."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

AFTER = "\U0010ffff"
"""Sorts after every character."""


@dataclass(frozen=True)
class Match:
    """The files that share the longest end with an entry."""

    names: tuple[str, ...]
    """None: no file is so named; several: the entry does not tell them apart."""
    moved: tuple[str, str] | None
    """The folders before the common end, of the entry and of the file, where both have some; None where one of the two
    paths is wholly the end of the other."""


class Tails:
    """Paths of files, found by the longest end that an entry shares with them, whatever the case of its letters."""

    def __init__(self, names: Sequence[str]) -> None:
        self._files = sorted((_key(parts := _parts(name)), parts, name) for name in names)
        self._keys = [key for key, _, _ in self._files]

    def find(self, entry: str) -> Match:
        """The files with the longest end in common with an entry, of which both slashes part the folders.

        Among several, a file whose whole path is that end comes first, then files that agree in the case of letters.
        """
        parts = _parts(entry)
        key = _key(parts)
        at = bisect_left(self._keys, key)
        # In the order of the reversed paths, nobody shares more with an entry than its neighbours.
        shared = max((_shared(key, other) for other in self._keys[max(at - 1, 0) : at + 1]), default=0)
        if not shared:
            return Match((), None)
        end = _key(parts[-shared:])
        found = self._files[bisect_left(self._keys, end) : bisect_left(self._keys, end + AFTER)]
        found = [one for one in found if len(one[1]) == shared] or found
        if len(found) > 1:
            found = [one for one in found if one[1][-shared:] == parts[-shared:]] or found
        before = "/".join(parts[:-shared]), "/".join(found[0][1][:-shared])
        return Match(tuple(name for _, _, name in found), before if all(before) else None)


def _parts(path: str) -> list[str]:
    # One text may be written in two ways (an accent within its letter or after it), as file systems do.
    plain = unicodedata.normalize("NFC", path).replace("\\", "/")
    return [part for part in plain.split("/") if part not in ("", ".", "..")]


def _key(parts: Sequence[str]) -> str:
    """The folded parts, the last one first, each ended by a character that sorts before all others."""
    return "".join(f"{part.casefold()}\0" for part in reversed(parts))


def _shared(key: str, other: str) -> int:
    count = 0
    for one, two in zip(key.split("\0")[:-1], other.split("\0")[:-1], strict=False):
        if one != two:
            break
        count += 1
    return count

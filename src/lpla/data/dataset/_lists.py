"""Which files a user's list of images means: those of a folder, or those that the entries of a list name."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from lpla.contracts.inputs import InputError, LeftOut
from lpla.contracts.settings import listed
from lpla.data.dataset._cache import check_outside
from lpla.data.dataset._hashing import file_hashes
from lpla.data.dataset._listing import SUFFIXES, Listing, image_files
from lpla.data.dataset._tables import columns_of
from lpla.data.dataset._tails import Match, Tails

log = logging.getLogger(__name__)

HASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
UNMATCHED = 0.01
"""Part of a list's entries, at most, that may name no file."""
FEW = 5
"""Names of each kind of problem, at most, in a sentence."""
NOTHING = Match((), None)


@dataclass
class Named:
    """The images that a list names."""

    files: dict[Path, str] = field(default_factory=dict)
    """Absolute path -> the path below the list's own folder, which may say a class."""
    unusable: dict[Path, str] = field(default_factory=dict)
    """What a folder has that cannot be read -> why."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What the list has beside these images, by kind, with counts."""


class Below:
    """The image files below data.root, listed once, and only if a list needs them."""

    def __init__(self, root: Path, cache: str) -> None:
        self.root, self.cache = root.resolve(), cache

    @cached_property
    def listing(self) -> Listing:
        """All of them; none if data.root is no folder, as lists may do without one."""
        return image_files(self.root) if self.root.is_dir() else Listing()

    @cached_property
    def tails(self) -> Tails:
        """The files by the ends of their paths."""
        return Tails(self.listing.names)

    @cached_property
    def by_hash(self) -> dict[str, str]:
        """The files by their contents; of equal files the first."""
        hashes = file_hashes(self.cache, self.root, self.listing.files)
        return {content: name for name, content in reversed(hashes.items())}

    def find(self, entry: str) -> Match:
        """The files that an entry of a list may mean: a hash, a path of this machine, or the end of one."""
        if HASH.fullmatch(entry):
            name = self.by_hash.get(entry.lower())
            return Match((name,), None) if name else NOTHING
        if os.path.isabs(entry) and os.path.isfile(entry):  # noqa: PTH113, PTH117  # an entry may be no path at all
            path = Path(entry)
            return Match((name_below(path.parent.resolve() / path.name, self.root),), None)
        return self.tails.find(entry)

    def __str__(self) -> str:
        return f"data.root={self.root}" + ("" if self.root.is_dir() else ", which is no folder")


def name_below(path: Path, root: Path) -> str:
    """The path below a folder, or the whole path of a file that lies elsewhere: `root / name` is the file."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def named_images(given: str, setting: str, below: Below) -> Named:
    """The images of a folder or of a list.

    Args:
        given: the folder, or the list's file.
        setting: what names it, for messages.
        below: where the list's files are looked for.

    Raises:
        InputError: there is no such thing, it names no image, more than 1 % of its entries match no file, or some
            match several.
    """
    place = Path(given).expanduser()
    if place.is_dir():
        check_outside(below.cache, place, setting)
        return _folder(place.resolve(), setting)
    if not place.is_file():
        meant = below.root / given
        hint = f"; did you mean {meant}?" if meant.exists() and meant != place else ""
        problem = "is neither of them" if place.exists() else "does not exist"
        raise InputError(f"{setting} must be a folder of images or a list of them, but {place} {problem}{hint}")
    return _list(place, setting, below)


def _folder(place: Path, setting: str) -> Named:
    found = image_files(place)
    if not found.files:
        beside = ", ".join([*found.unusable, *(f"{kind}: {count}" for kind, count in sorted(found.others.items()))])
        raise InputError(
            f"{setting} must name images, but the folder {place} has none" + (f" beside {beside}" if beside else "")
        )
    return Named(
        {place / name: name for name in found.names},
        {place / name: why for name, why in found.unusable.items()},
        [LeftOut(f"{kind} in {setting}: {count}") for kind, count in sorted(found.others.items())],
    )


def _list(file: Path, setting: str, below: Below) -> Named:
    entries, found = _best_column(file, setting, below)
    if not found[0] and len(entries) > 1 and not (HASH.fullmatch(entries[0]) or _is_image(entries[0])):
        log.info("%s=%s: the first row (%s) is taken for a header", setting, file, entries[0])
        entries, found = entries[1:], found[1:]
    _refuse_ambiguous(file, setting, below, entries, found)
    unmatched = [entry or "(an empty cell)" for entry, names in zip(entries, found, strict=True) if not names]
    if len(unmatched) > UNMATCHED * len(entries):
        counts = f"{len(unmatched)} of {len(entries)} entries name no image below {below}"
        remedy = "set data.root to the folder from which its paths go, or take these entries out"
        raise InputError(f"{setting}={file}: {counts}: {listed(unmatched, FEW)}; {remedy}")
    times = Counter(names[0] for names in found if names)
    again = [name for name, count in times.items() if count > 1]
    said = [LeftOut(f"unmatched in {setting}: {len(unmatched)}", unmatched, FEW)] if unmatched else []
    said += [LeftOut(f"named again in {setting}: {len(again)}", again, FEW)] if again else []
    return Named({below.root / name: "" if Path(name).is_absolute() else name for name in times}, left_out=said)


def _best_column(file: Path, setting: str, below: Below) -> tuple[list[str], list[tuple[str, ...]]]:
    """The entries of the column in which most name files, and the files that each may mean."""
    most, best = -1, ([], [])
    for column in columns_of(file, setting):
        found = _files_of(column, below)
        matched = sum(map(bool, found))
        if matched > most:
            most, best = matched, (column, found)
        if matched and all(found[1:]):
            break
    return best


def _files_of(column: Sequence[str], below: Below) -> list[tuple[str, ...]]:
    """The files that each entry may mean.

    Where an entry and a file agree in their ends alone, and in other folders before them, the list may come from a
    machine where these folders had other names. They must then have had them for all of its entries: else cats/1.png,
    which is gone, would be found in dogs/1.png.
    """
    matches = [below.find(entry) if entry else NOTHING for entry in column]
    whole = any(len(one.names) == 1 and not one.moved for one in matches)
    moves = Counter(one.moved for one in matches if one.moved and len(one.names) == 1)
    usual = None if whole or not moves else moves.most_common(1)[0][0]
    return [
        one.names if not one.moved or one.moved == usual or (not whole and len(one.names) > 1) else ()
        for one in matches
    ]


def _refuse_ambiguous(
    file: Path, setting: str, below: Below, entries: Sequence[str], found: Sequence[tuple[str, ...]]
) -> None:
    several = [f"{e} ({listed(names, 3)})" for e, names in zip(entries, found, strict=True) if len(names) > 1]
    if several:
        counts = f"{len(several)} of {len(entries)} entries may be any of several files below {below}"
        remedy = "write as much of each path as tells them apart, or set data.root to the folder from which paths go"
        raise InputError(f"{setting}={file}: {counts}: {listed(several, FEW)}; {remedy}")


def _is_image(entry: str) -> bool:
    return entry.lower().endswith(SUFFIXES)

"""Which images lie below a folder, and what lies there beside them: nothing is left out without being counted."""

from __future__ import annotations

import json
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

SUFFIXES = (
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx", ".pbm", ".pgm",
    ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Suffixes of the pictures that Pillow reads by itself: no documents, and nothing that starts another program."""

Stamp = tuple[str, int, int]
"""Path below the folder, size in bytes and time of change in nanoseconds: what tells that a file has changed."""


@dataclass
class Listing:
    """What was found; paths are relative, with forward slashes."""

    files: list[Stamp] = field(default_factory=list)
    """Regular files named like an image, sorted by their paths."""
    unusable: dict[str, str] = field(default_factory=dict)
    """Folders, and files named like an image, that cannot be read -> why."""
    others: Counter[str] = field(default_factory=Counter)
    """Kind of entry that is skipped -> how many there are."""

    @property
    def names(self) -> list[str]:
        """The paths of the images."""
        return [name for name, _, _ in self.files]


def image_files(root: Path) -> Listing:
    """All images below `root`; links are followed, but no folder is read twice, and hidden files are skipped."""
    found = Listing()
    read: set[tuple[int, int]] = set()
    # Links come last, so that a folder that is there under its own name is read under that name.
    folders, links = deque([Path()]), deque[Path]()
    while folders or links:
        inside = (folders or links).popleft()
        try:
            stat = (root / inside).stat()
            entries = sorted(os.scandir(root / inside), key=lambda entry: entry.name)
        except OSError as refused:
            found.unusable[f"{inside.as_posix()}/"] = str(refused.strerror)
            continue
        if (stat.st_dev, stat.st_ino) in read:
            found.others["links to folders that are read already"] += 1
            continue
        read.add((stat.st_dev, stat.st_ino))
        for folder in _folders(entries, inside, found):
            (links if folder.is_symlink() else folders).append(inside / folder.name)
    found.files.sort()
    found.unusable = dict(sorted(found.unusable.items()))
    return found


def _folders(entries: Sequence[os.DirEntry[str]], inside: Path, found: Listing) -> Iterator[os.DirEntry[str]]:
    """The folders among the entries; everything else is noted in `found`."""
    for entry in entries:
        suffix = Path(entry.name).suffix.lower()
        try:
            if entry.name.startswith("."):
                if entry.is_dir():
                    found.others[f"folders {entry.name}"] += 1
                elif suffix in SUFFIXES:
                    found.others["hidden files"] += 1
            elif entry.is_dir():
                yield entry
            elif suffix in SUFFIXES or not (suffix or Path(entry).exists()):
                _note((inside / entry.name).as_posix(), entry, found)
            else:
                found.others[f"files {suffix}" if suffix else "files without a suffix"] += 1
        except OSError as refused:
            found.unusable[(inside / entry.name).as_posix()] = str(refused.strerror)


def _note(name: str, entry: os.DirEntry[str], found: Listing) -> None:
    if entry.is_file():
        stat = entry.stat()
        found.files.append((name, stat.st_size, stat.st_mtime_ns))
    else:
        # To open a pipe would wait for whoever writes into it.
        found.unusable[name] = "it is no regular file" if Path(entry).exists() else "it is a link to nothing"


def stamps(root: Path, names: Sequence[str]) -> list[Stamp]:
    """The stamp of each file of `names` below `root`."""
    found = ((root / name).stat() for name in names)
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, found, strict=True)]


def fingerprint(files: Sequence[Stamp]) -> str:
    """SHA-256 of the stamps, as the part of a key that says which files there were."""
    return sha256(json.dumps(files).encode()).hexdigest()

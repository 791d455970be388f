"""Checksums of a folder's files: a folder is whole if every file is as it was when it was sealed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from functools import lru_cache
from pathlib import Path

CHECKSUMS = "checksums.json"
SETTLED = 2 * 10**9
"""Nanoseconds since a file's last change after which another one cannot carry the same time: file systems' clocks tick
as seldom as every second or two."""


class DamagedError(Exception):
    """An artifact's files are not what was written."""


def seal(place: Path) -> None:
    """Write the checksums of the folder's files beside them, and see all of it onto the disk."""
    sums = {file.name: _checksum(file) for file in sorted(place.iterdir())}
    (place / CHECKSUMS).write_text(json.dumps(sums, indent=1))
    for path in (*place.iterdir(), place):
        fsync(path)


def verify(place: Path) -> None:
    """Raise DamagedError, naming the file, unless every file of the artifact has its recorded checksum."""
    try:
        sums = json.loads((place / CHECKSUMS).read_text())
    except (OSError, ValueError) as unreadable:
        raise DamagedError(f"{place / CHECKSUMS} cannot be read") from unreadable
    for name, expected in sums.items():
        file = place / name
        if file.is_symlink() or not file.is_file():
            raise DamagedError(f"{file} is {'a link' if file.is_symlink() else 'missing'}")
        if _checksum(file) != expected:
            raise DamagedError(f"{file} does not match its checksum")


def _checksum(file: Path) -> str:
    """SHA-256; a file that this process has read is read again once it may have changed: a sweep asks in every job."""
    state = file.stat()
    if time.time_ns() - state.st_ctime_ns < SETTLED:
        return _read(file)
    # No program sets ctime: it is the system's own record of a change of contents, name or times.
    return _read_once(file, state.st_dev, state.st_ino, state.st_size, state.st_ctime_ns)


def _read(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@lru_cache(maxsize=2**16)
def _read_once(file: Path, *_state: int) -> str:
    return _read(file)


def fsync(path: Path) -> None:
    """Return once the file, or the names in the folder, would survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Content-addressed artifacts on disk: a key is exactly what the content depends on, a write is all or nothing.

ROOT/<kind>/<key>/ holds the files of one artifact beside `recipe.json` (the parts its key was made of) and
`checksums.json`; `python -m lpla.store` lists, explains and prunes. Arrays are .npy, weights safetensors: no pickle.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import logging
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout

from lpla.contracts import InputError
from lpla.integrity import DamagedError, fsync, seal, verify

log = logging.getLogger(__name__)

RECIPE, HELD = "recipe.json", "held.lock"


def key_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 (first 32 hex digits) of the canonical JSON of what an artifact depends on."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


class Store:
    """A folder of finished artifacts; safe to share between processes."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        try:
            for folder in (self.root / "locks", self.root / "unfinished"):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.root / "unfinished" / uuid4().hex
            probe.touch()
            probe.unlink()
        except OSError as refused:
            problem = f"cannot be written ({refused.strerror})"
            raise InputError(f"store must be a folder this user can write, but {self.root} {problem}") from refused

    def path(self, kind: str, key: str) -> Path:
        """Where the artifact stands, or would stand."""
        return self.root / kind / key

    def find(self, kind: str, parts: Mapping[str, Any]) -> Path | None:
        """The artifact's folder if it is there and whole; a damaged one is named, set aside and reported absent."""
        place = self.path(kind, key_of(parts))
        if not place.is_dir():
            return None
        try:
            verify(place)
        except DamagedError as damage:
            self.set_aside(place, damage)
            return None
        return place

    def has(self, kind: str, parts: Mapping[str, Any]) -> bool:
        """Whether the artifact is there, whole or not."""
        return self.path(kind, key_of(parts)).is_dir()

    def set_aside(self, place: Path, damage: DamagedError) -> None:
        """Say what is wrong with an artifact, and keep its files where nobody finds them as one."""
        aside = self.root / "damaged" / f"{place.parent.name}-{place.name}-{time.time_ns()}"
        aside.parent.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # Another process was first.
            place.rename(aside)
            log.warning("damaged artifact: %s; set aside as %s and made again", damage, aside)

    def delete(self, kind: str, parts: Mapping[str, Any]) -> None:
        """Delete an artifact in one rename, so that no half of one is ever there."""
        draft = self.root / "unfinished" / uuid4().hex
        with suppress(FileNotFoundError):  # Another process was first.
            self.path(kind, key_of(parts)).rename(draft)
        shutil.rmtree(draft, ignore_errors=True)

    def put(self, kind: str, parts: Mapping[str, Any], write: Callable[[Path], object]) -> Path:
        """Let `write` fill a new folder, then publish it under its key in one rename; returns the published folder.

        Raises InputError if the disk refuses (full, read-only); nothing is left half-written under the key.
        """
        place = self.path(kind, key_of(parts))
        draft = self.root / "unfinished" / uuid4().hex
        try:
            draft.mkdir()
            write(draft)
            (draft / RECIPE).write_text(json.dumps(parts, indent=1, sort_keys=True))
            seal(draft)
            place.parent.mkdir(exist_ok=True)
            if not place.exists():
                draft.rename(place)
            fsync(place.parent)
        except FileNotFoundError:
            raise  # The store itself is gone: see `watched`.
        except OSError as refused:
            message = f"store={self.root} refused {kind} {place.name}: {refused.strerror}; finished artifacts are kept"
            raise InputError(message) from refused
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return place

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder beside the artifacts for what will be one, gone afterwards; a full disk raises InputError.

        A lock within it says that its maker lives.
        """
        try:
            with TemporaryDirectory(dir=self.root / "unfinished") as folder, FileLock(Path(folder) / HELD):
                yield Path(folder)
        except OSError as refused:
            if refused.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            message = f"store={self.root} refused an unfinished artifact: {refused.strerror}; finished ones are kept"
            raise InputError(message) from refused

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within, what fails because the store was deleted, unmounted or locked meanwhile raises InputError."""
        try:
            yield
        except OSError as failed:
            if not isinstance(failed.filename, str) or not Path(failed.filename).is_relative_to(self.root):
                raise
            problem = f"but {failed.filename} cannot be used any more ({failed.strerror})"
            remedy = "the same command makes what is missing"
            raise InputError(f"store={self.root} must stay in place during a run, {problem}; {remedy}") from failed

    @contextmanager
    def lock(self, kind: str, parts: Mapping[str, Any]) -> Iterator[None]:
        """Hold the right to make this artifact; the operating system releases it if the holder dies."""
        with FileLock(self.root / "locks" / f"{kind}-{key_of(parts)}"):
            yield

    def artifacts(self) -> Iterator[tuple[str, Path, dict[str, Any]]]:
        """(kind, folder, key parts) of everything finished, by kind and age."""
        for kind in sorted(k for k in self.root.iterdir() if k.is_dir()):
            if kind.name in ("locks", "unfinished", "damaged"):
                continue
            for place in sorted(kind.iterdir(), key=_changed):
                try:
                    parts = json.loads((place / RECIPE).read_text())
                except FileNotFoundError:
                    continue  # Deleted or set aside by another process meanwhile.
                yield kind.name, place, parts

    def nearest(self, kind: str, parts: Mapping[str, Any]) -> list[str]:
        """Why `parts` was not found: how it differs from the most similar artifact ("train.epochs: 20 -> 40")."""
        wanted = _flat(parts)
        found = [_flat(p) for k, place, p in self.artifacts() if k == kind and place.name != key_of(parts)]
        differences = [
            [f"{name}: {other.get(name)} -> {wanted.get(name)}" for name in sorted(wanted | other)
             if wanted.get(name) != other.get(name)]
            for other in found
        ]  # fmt: skip
        return min(differences, key=len, default=[])


def _flat(parts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in parts.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def main(arguments: list[str] | None = None) -> None:
    """Command line: list what the store holds, explain what sets an artifact apart, prune what is old."""
    parser = argparse.ArgumentParser(prog="python -m lpla.store", description=main.__doc__)
    parser.add_argument("--store", default="store", help="the store's folder (default: ./store)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="kind, key, size and age of every artifact")
    explain = commands.add_parser(
        "explain", help="the key parts in which an artifact differs from its nearest neighbour"
    )
    explain.add_argument("key", help="the first digits of a key, as `list` shows it")
    prune = commands.add_parser(
        "prune", help="delete artifacts older than DAYS, and what was left unfinished or damaged"
    )
    prune.add_argument("days", type=float, help="age in days; 0 empties the store")
    options = parser.parse_args(arguments)
    store = Store(options.store)
    if options.command == "list":
        for kind, place, _ in store.artifacts():
            print(f"{kind:12} {place.name} {_bytes(place) / 1e6:9.2f} MB {_days(place):6.1f} days")
    elif options.command == "explain":
        for kind, place, parts in store.artifacts():
            if place.name.startswith(options.key):
                print(f"{kind} {place.name}", *(store.nearest(kind, parts) or ["nothing to compare with"]), sep="\n  ")
    else:
        old = [place for _, place, _ in store.artifacts() if _days(place) >= options.days]
        # A draft younger than a day may still be written to; a training has its scratch for as long as it takes.
        left = [p for p in _inside(store.root / "unfinished") if _days(p) >= 1 and not _held(p)]
        left += _inside(store.root / "damaged")
        freed = sum(_bytes(place) for place in old + left)
        for place in old + left:
            shutil.rmtree(place)
        print(f"deleted {len(old)} artifacts and {len(left)} leftovers, {freed / 1e6:.2f} MB")


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _held(draft: Path) -> bool:
    try:
        with FileLock(draft / HELD, timeout=0):
            return False
    except Timeout:
        return True


def _bytes(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def _changed(place: Path) -> float:
    return place.stat().st_mtime if place.exists() else math.inf


def _days(place: Path) -> float:
    return (time.time() - _changed(place)) / 86_400


if __name__ == "__main__":
    # A reader that has seen enough (`list | head`) is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()

"""Content-addressed artifacts on disk: a key is exactly what the content depends on, a write is all or nothing.

ROOT/<kind>/<key>/ holds the files of one artifact beside `recipe.json` (the parts its key was made of),
`provenance.json` (what computed it) and `checksums.json`; `python -m lpla.store` lists, explains and prunes. Arrays are
.npy, weights safetensors: no pickle.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from filelock import FileLock

from lpla.contracts.result import InputError
from lpla.store import provenance
from lpla.store.integrity import DamagedError, fsync, seal, verify

log = logging.getLogger(__name__)

RECIPE, HELD, MARKER = "recipe.json", "held.lock", ".lpla-store"
NO_KIND = ("locks", "unfinished", "damaged")
"""Folders of a store that hold no finished artifacts."""
ANSWERS = "answers"
"""The kind of what services answered, which grows, and which nothing but its sender can give again."""


def key_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 (first 32 hex digits) of the canonical JSON of what an artifact depends on."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


class Store:
    """A folder of finished artifacts; safe to share between processes."""

    def __init__(self, root: str | Path, create: bool = True, setting: str = "store") -> None:
        """Open the store at `root`, the folder that the configuration's key `setting` names.

        Without `create` nothing is written, so that a command can read a folder of another user.

        Args:
            root: The folder; `~` is expanded.
            create: Whether to make the folder, or to refuse one that is no store.
            setting: Named in messages.

        Raises:
            InputError: The path is empty, or the folder cannot be written, has links where its own folders stand or,
                without `create`, is no store.
        """
        if not str(root).strip():
            raise InputError(f"{setting} must be the path of a folder, got an empty text")
        self.root, self.setting = Path(root).expanduser().absolute(), setting
        for name in (*NO_KIND, MARKER):
            self._not_linked(self.root / name)
        if not create:
            if not (self.root / MARKER).is_file():
                raise InputError(f"{setting} must be a store of lpla (a folder with a file {MARKER}), got {self.root}")
            return
        try:
            # A folder that is there keeps its mode: that of one shared by a group is its owner's to choose.
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.root / "locks", self.root / "unfinished"):
                folder.mkdir(parents=True, exist_ok=True)
            # To write the marker anew also shows that the folder can be written.
            (self.root / MARKER).write_text("A store of lpla: python -m lpla.store lists and prunes it.\n")
        except OSError as refused:
            problem = f"cannot be written ({refused.strerror})"
            raise InputError(f"{setting} must be a folder this user can write, but {self.root} {problem}") from refused

    def path(self, kind: str, key: str) -> Path:
        """Return where the artifact stands, or would stand; raises InputError for a link, which may lead elsewhere."""
        place = self.root / kind / key
        for part in (place.parent, place):
            self._not_linked(part)
        return place

    def _not_linked(self, place: Path) -> None:
        if place.is_symlink():
            raise InputError(f"{self.setting} must be a folder without links within it, but {place} is one")

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
        with suppress(PermissionError):  # A store that is only read keeps no account of its use.
            os.utime(place)
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

    def put(
        self,
        kind: str,
        parts: Mapping[str, Any],
        write: Callable[[Path], object],
        made: Mapping[str, Any] | None = None,
    ) -> Path:
        """Let `write` fill a new folder, then publish it under its key in one rename.

        Args:
            kind: the artifact's kind, a folder of the store.
            parts: what its content depends on: its key.
            write: is given the new folder and fills it.
            made: its provenance (`provenance.describe`); by default that of this process on the CPU.

        Returns:
            The published folder.

        Raises:
            InputError: if the disk refuses (full, read-only); nothing is left half-written under the key.
        """
        place, draft = self.path(kind, key_of(parts)), self.root / "unfinished" / uuid4().hex
        try:
            draft.mkdir(mode=0o700)
            write(draft)
            (draft / provenance.PROVENANCE).write_text(json.dumps(made or provenance.describe(), indent=1))
            (draft / RECIPE).write_text(json.dumps(parts, indent=1, sort_keys=True))
            seal(draft)
            place.parent.mkdir(exist_ok=True)
            if not place.exists():
                draft.rename(place)
            fsync(place.parent)
        except FileNotFoundError:
            raise  # The store itself is gone: see `watched`.
        except OSError as refused:
            problem = f"{kind} {place.name}: {refused.strerror}; finished artifacts are kept"
            raise InputError(f"{self.setting}={self.root} refused {problem}") from refused
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
        """Watch the store: if it is deleted, unmounted or locked meanwhile, what fails within raises InputError."""
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

    def artifacts(self, only: str | None = None) -> Iterator[tuple[str, Path, dict[str, Any]]]:
        """(kind, folder, key parts) of every finished artifact, or of those of the kind `only`, by kind and last use.

        Links and stray files are none.
        """
        kinds = self.root.iterdir() if only is None else [self.root / only]
        for kind in sorted(place for place in kinds if is_folder(place) and place.name not in NO_KIND):
            for place in sorted(filter(is_folder, kind.iterdir()), key=last_use):
                try:
                    parts = json.loads((place / RECIPE).read_text())
                except FileNotFoundError:
                    continue  # Deleted or set aside by another process meanwhile.
                yield kind.name, place, parts

    def nearest(self, kind: str, parts: Mapping[str, Any]) -> list[str]:
        """Why `parts` was not found: how it differs from the most similar artifact ("train.epochs: 20 -> 40")."""
        # As it would be read back: a tuple and the list that it becomes in a file are no difference.
        wanted = _flat(json.loads(json.dumps(parts)))
        found = [_flat(p) for _, place, p in self.artifacts(kind) if place.name != key_of(parts)]
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


def last_use(place: Path) -> float:
    """Return when an artifact was last found or made, in seconds of the epoch; infinity if it has gone."""
    try:
        return place.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def is_folder(place: Path) -> bool:
    """Return whether it is a folder itself: a link could lead out of the store."""
    return place.is_dir() and not place.is_symlink()

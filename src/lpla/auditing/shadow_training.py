"""The trainings of a user's own shadows: one command for each, with a log and an exit status; resumable."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from lpla.auditing.own_shadows import ENCODER, LOG, MEMBERS, PLAN, TABLE, TRAINING, content_of, encoder_of, training_of
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import listed
from lpla.data.memberships import files_inside
from lpla.training import signals

NEEDED = ("{members}", "{out}")
FOUND = "found"
POLL = 0.2
"""Seconds between two checks whether a signal came."""
GRACE = 10
"""Seconds in which a command that is asked to end may do so."""


def train(folder: Path, command: str) -> None:
    """Train the shadows of a planned folder that are not trained yet, in their order; prints a line for each.

    Args:
        folder: as `lpla shadows plan` left it.
        command: what trains one encoder; {members}, {out} and {seed} in its words are replaced.

    Raises:
        InputError: the folder has no plan, a list no longer fits its files, the command lacks a place, a shadow was
            trained by another command, or a training fails, with where its log lies.
    """
    if not (folder / PLAN).is_file():
        raise InputError(f"DIR must be a folder of lpla shadows plan, got {folder}, which has no {PLAN}")
    try:
        words = shlex.split(command)
    except ValueError as unreadable:
        raise InputError(f"--command must be words as a shell reads them, got {command} ({unreadable})") from None
    if missing := [one for one in NEEDED if not any(one in word for word in words)]:
        raise InputError(f"--command must have {' and '.join(NEEDED)} in it, got {command}, without {missing[0]}")
    plan = json.loads((folder / PLAN).read_text())
    inside = files_inside(folder / TABLE)
    ahead = [name for name in inside if not _is_done(folder / name, words)]
    _check_lists(folder, Path(plan["root"]), {name: inside[name] for name in ahead})
    with signals.stoppable():
        for name in inside:
            said = _train_one(folder / name, words, plan["seeds"][name], inside[name]) if name in ahead else FOUND
            print(f"{name}: {said}", flush=True)
    if all(_is_done(folder / name, words) for name in inside):
        print(f"all {len(inside)} shadows are trained: set target.shadows={folder}")


def _is_done(place: Path, words: Sequence[str]) -> bool:
    done = training_of(place)
    if done is None or done["exit"]:
        return False
    if done["command"] != list(words):
        before = shlex.join(done["command"])
        raise InputError(f"--command must be that of the shadows before, as {place.name} was trained by: {before}")
    encoder_of(place)
    return True


def _check_lists(folder: Path, root: Path, ahead: dict[str, dict[str, str]]) -> None:
    """Refuse lists that were changed, and files that are not those of the plan any more."""
    for name, files in ahead.items():
        listing = (folder / name / MEMBERS).read_text().splitlines() if (folder / name / MEMBERS).is_file() else []
        if sorted(listing) != sorted(str(root / file) for file in files):
            raise InputError(f"{folder / name / MEMBERS} must name the files of {TABLE}, but was changed; plan anew")
    expected = {file: content for files in ahead.values() for file, content in files.items()}
    if changed := [file for file, content in expected.items() if _content(root / file) != content]:
        counts = f"{len(changed)} files are gone or changed since it was planned: {listed(changed, 5)}"
        raise InputError(f"{folder}: {counts}; bring them back, or plan in another folder")


def _content(file: Path) -> str:
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _train_one(place: Path, words: Sequence[str], seed: int, files: dict[str, str]) -> str:
    """Run the command for one shadow, unless another process does or did, and keep how it ended."""
    signals.check()
    told = {
        "{members}": str((place / MEMBERS).resolve()),
        "{out}": str((place / ENCODER).resolve()),
        "{seed}": str(seed),
    }
    lock = FileLock(place / ".lock")
    try:
        with lock.acquire(timeout=0):
            if _is_done(place, words):
                return FOUND
            start = time.monotonic()
            code = _run([_filled(word, told) for word in words], place / LOG)
            record: dict[str, Any] = {"exit": code, "command": list(words), "seed": seed}
            record |= {"members": content_of(files.values()), "seconds": round(time.monotonic() - start, 1)}
            (place / TRAINING).write_text(json.dumps(record, indent=1))
    except Timeout:
        return "another process trains it"
    if code:
        raise InputError(f"the training of {place.name} ended with exit status {code}; its log is {place / LOG}")
    try:
        encoder_of(place)
    except InputError as absent:
        (place / TRAINING).unlink()
        raise InputError(f"the training of {place.name} left no encoder: {absent}; its log is {place / LOG}") from None
    return f"trained in {record['seconds']:g} s"


def _filled(word: str, told: dict[str, str]) -> str:
    for place, value in told.items():
        word = word.replace(place, value)
    return word


def _run(words: Sequence[str], log: Path) -> int:
    """The exit status of a command, what it says going to the log; a signal to this process ends it too."""
    with log.open("w") as said:
        said.write(f"{shlex.join(words)}\n")
        said.flush()
        try:
            # In a session of its own, so that its helpers end with it.
            child = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as impossible:
            said.write(f"{impossible}\n")
            return 127
        try:
            while True:
                try:
                    return child.wait(timeout=POLL)
                except subprocess.TimeoutExpired:
                    signals.check()
        finally:
            if child.poll() is None:
                _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

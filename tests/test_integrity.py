"""Checksums: what is unchanged is read once, what changed in any way is read again."""

import os
import time
from pathlib import Path

import pytest

from lpla.store import integrity
from lpla.store.integrity import DamagedError, seal, verify


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "weights").write_bytes(b"w" * 1000)
    seal(tmp_path)
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were read for their checksum."""
    found: list[Path] = []
    read = integrity._read
    monkeypatch.setattr(integrity, "_read", lambda file: found.append(file) or read(file))
    return found


@pytest.fixture
def settled(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since then the clock of this process has moved far ahead."""
    now = time.time_ns
    monkeypatch.setattr(integrity.time, "time_ns", lambda: now() + 10 * integrity.SETTLED)


def change(file: Path) -> None:
    """Another byte, the same size and the same modification time."""
    before = file.stat()
    file.write_bytes(b"w" * 999 + b"x")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.usefixtures("settled")
def test_what_is_unchanged_is_read_once(sealed: Path, reads: list[Path]) -> None:
    for _ in range(3):
        verify(sealed)
    assert reads == [sealed / "weights"]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("replaced", [False, True], ids=["in place", "by another file"])
def test_a_change_that_keeps_size_and_time_is_found(sealed: Path, replaced: bool) -> None:
    verify(sealed)
    weights = sealed / "weights"
    time.sleep(0.05)  # A tick of the file system's clock.
    if replaced:
        other = sealed.parent / f"{sealed.name} other"
        other.write_bytes(weights.read_bytes())
        os.utime(other, ns=(weights.stat().st_atime_ns, weights.stat().st_mtime_ns))
        change(other)
        other.rename(weights)
    else:
        change(weights)
    with pytest.raises(DamagedError, match="weights does not match its checksum"):
        verify(sealed)


def test_what_has_just_changed_is_read_every_time(sealed: Path, reads: list[Path]) -> None:
    for _ in range(2):
        verify(sealed)
    assert len(reads) == 2
    change(sealed / "weights")
    with pytest.raises(DamagedError, match="weights does not match its checksum"):
        verify(sealed)

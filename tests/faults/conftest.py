"""What the faults share: the result of an audit that nothing disturbed, and small disks of their own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_audit import TINY, Ran
from whole import SMALL, Left, left

MADE: dict[str, Left] = {}


@pytest.fixture
def undisturbed(cli: Callable[..., Ran], tmp_path: Path) -> Left:
    """UnitReport once, in a store of its own."""
    if not MADE:
        ran = cli(*TINY, *SMALL, "store=undisturbed")
        assert ran.code == 0, ran.out + ran.err
        MADE.update(left(ran.folder, tmp_path / "undisturbed"))
    return MADE


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount options -> a file system in memory; given again, they change it. Skips where mounting is not allowed."""
    place, mounted = tmp_path / "disk", []
    place.mkdir()

    def mount(options: str) -> Path:
        if sys.platform != "linux":
            pytest.skip("a small disk is a tmpfs, which Linux alone has")
        again = "remount," if mounted else ""
        command = ["mount", "-t", "tmpfs", "-o", again + options, "tmpfs", str(place)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"a small disk needs the right to mount one: {made.stderr.strip()}")
        mounted.append(options)
        return place

    yield mount
    if mounted:
        # Lazily, as what has been mapped into memory may still be.
        subprocess.run(["umount", "--lazy", str(place)], check=True)

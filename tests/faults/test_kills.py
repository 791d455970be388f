"""kill -9 at random moments of every phase: the same command goes on, and ends as if nothing had happened."""

import itertools
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from command_line import ended, start
from tiny_audit import TINY, Ran
from whole import SMALL, Left, left, whole_artifacts

from lpla.store.artifacts import RECIPE

pytestmark = pytest.mark.slow

KILLS = 4
"""Of each phase."""
PHASES = {
    # phase: (module, class or none, function, how often it is called in one audit, seconds or lines that it takes)
    "train": ("lpla.training.pretraining", "Pretraining", "training_step", 32, 0.01),
    "checkpoint": ("lpla.training.checkpoint", "Checkpoints", "_keep", 9, 60),
    "extract": ("lpla.extraction.extraction", "Extraction", "_observe_chunk", 5, 0.02),
    "put": ("lpla.store.artifacts", "Store", "put", 20, 40),
    "judge": ("lpla.auditing.job", None, "judge", 2, 0.1),
}


def arm(phase: str, number: int) -> None:
    """In one of the calls of the phase's function, drawn at random, this process kills itself at a random moment."""
    module, kind, name, calls, size = PHASES[phase]
    draw = random.Random(f"{phase} {number}")
    turn, moment = draw.randint(1, calls), draw.uniform(0, size)
    owner = __import__(module, fromlist=["_"])
    owner = getattr(owner, kind) if kind else owner
    usual, count = getattr(owner, name), itertools.count(1)

    def deadly(*args, **kwargs):
        if next(count) != turn:
            return usual(*args, **kwargs)
        # A phase of file operations is too short for a clock: its moments are the lines of our code.
        kill_after_lines(int(moment)) if isinstance(size, int) else threading.Timer(moment, kill).start()
        try:
            return usual(*args, **kwargs)
        finally:
            kill()

    setattr(owner, name, deadly)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after_lines(lines: int) -> None:
    ahead = itertools.count(lines, -1)

    def trace(frame: FrameType, event: str, _: object) -> Callable | None:
        if "lpla" not in frame.f_code.co_filename:
            return None
        if event == "line" and next(ahead) <= 0:
            kill()
        return trace

    sys.settrace(trace)


@pytest.mark.parametrize("phase", PHASES)
def test_kills_change_no_result(phase: str, cli: Callable[..., Ran], undisturbed: Left, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(KILLS)]
    for folder in folders:
        folder.mkdir()
    victims = [start(folder, *TINY, *SMALL, arm=arm, given=(phase, int(folder.name))) for folder in folders]
    assert [ended(victim) for victim in victims] == KILLS * [-signal.SIGKILL]
    for folder in folders:
        store = folder / "store"
        kept = [place for kind, place in whole_artifacts(store) if kind != "checkpoints"]
        made = [(place / RECIPE).stat().st_mtime_ns for place in kept]
        ran = cli(*TINY, *SMALL, f"store={store}")
        assert ran.code == 0, ran.out
        assert left(ran.folder, store) == undisturbed
        assert [(place / RECIPE).stat().st_mtime_ns for place in kept] == made


def cut_the_power() -> None:
    """Between write and rename of an encoder: its files are there, its name is not."""
    usual = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if Path(target).parent.name == "encoders":
            kill()
        return usual(self, target)

    Path.rename = rename  # pyright: ignore[reportAttributeAccessIssue]


def test_a_power_cut_between_write_and_rename(cli: Callable[..., Ran], undisturbed: Left, tmp_path: Path) -> None:
    assert ended(start(tmp_path, *TINY, *SMALL, arm=cut_the_power)) == -signal.SIGKILL
    assert {kind for kind, _ in whole_artifacts(tmp_path / "store")} == {"checkpoints"}
    assert list((tmp_path / "store" / "unfinished").glob("*/weights.safetensors"))
    ran = cli(*TINY, *SMALL)
    assert "goes on after epoch 3 of 4" in ran.out
    assert left(ran.folder, tmp_path / "store") == undisturbed

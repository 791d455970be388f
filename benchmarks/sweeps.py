"""Whole commands: a sweep against the first job that it repeats with other settings, and what should answer at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.encoder import ROOT
from benchmarks.measure import Row, interleaved, seconds_of
from benchmarks.sizes import Audit

ANSWERS = {"--help": (["--help"], 0), "--cfg job": (["--cfg", "job"], 0), "unknown option": (["nonsense=1"], 1)}
"""Arguments and the exit code that they must have."""


def rows(audit: Audit, repeats: int) -> list[Row]:
    """Seconds of commands, from their start to their end."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _command(folder, audit.settings)  # trains the encoders
        warm: list[float] = []
        commands = {
            "ours": partial(_sweep, folder, audit, warm),
            "limit": partial(_untouched, folder, audit.settings),
        }
        found = interleaved(commands, min(repeats, audit.repeats))
        answers = [
            Row("commands", f"run.py {name}", "s", times, aim="1.5 s")
            for name, times in interleaved(
                {
                    name: partial(seconds_of, partial(_command, folder, arguments, code))
                    for name, (arguments, code) in ANSWERS.items()
                },
                repeats,
            ).items()
        ]
    return [
        Row("sweep", f"{audit.points} points after training", "s", **found, aim="1.1 x limit"),
        Row("sweep", "a job that finds everything", "s", warm, aim="1 s"),
        *answers,
    ]


def _command(folder: Path, arguments: Sequence[str], code: int = 0) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != code:
        raise RuntimeError(f"run.py {' '.join(arguments)} ended with {done.returncode}: {done.stderr or done.stdout}")


def _untouched(folder: Path, arguments: Sequence[str]) -> float:
    """Seconds of a command that finds the encoders but none of their statistics."""
    shutil.rmtree(folder / "store" / "statistics")
    return seconds_of(partial(_command, folder, arguments))


def _sweep(folder: Path, audit: Audit, warm: list[float]) -> float:
    """Seconds of the sweep; `warm` receives the median seconds from a job's end to the next one's."""
    before = set((folder / "outputs").glob("*"))
    seconds = _untouched(folder, ["-m", *audit.settings, *audit.sweep])
    (made,) = set((folder / "outputs").glob("*")) - before
    ends = sorted(file.stat().st_mtime for file in made.glob("*/scores.npz"))
    if len(ends) != audit.points:
        raise RuntimeError(f"the sweep has {len(ends)} jobs, expected {audit.points}")
    warm.append(median(np.diff(ends).tolist()))
    return seconds

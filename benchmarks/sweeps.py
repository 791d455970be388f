"""A sweep against the first job that it repeats with other settings."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import Row, interleaved, seconds_of
from benchmarks.sizes import Audit
from benchmarks.start import command


def rows(audit: Audit, repeats: int) -> list[Row]:
    """Seconds of commands, from their start to their end."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command(folder, audit.settings)  # trains the encoders
        warm: list[float] = []
        commands = {
            "ours": partial(_sweep, folder, audit, warm),
            "limit": partial(_untouched, folder, audit.settings),
        }
        found = interleaved(commands, min(repeats, audit.repeats))
    return [
        Row("sweep", f"{audit.points} points after training", "s", **found, aim="1.1 x limit"),
        Row("sweep", "a job in it, finding everything", "s", warm, aim="1 s"),
    ]


def _untouched(folder: Path, arguments: Sequence[str]) -> float:
    """Seconds of a command that finds the encoders but none of their statistics."""
    shutil.rmtree(folder / "store" / "statistics")
    return seconds_of(partial(command, folder, arguments))


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

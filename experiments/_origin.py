"""Where a figure comes from: the command, the revision and the day."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from lpla.report.rows import Row, cell

OF_THIS_MACHINE = ("data.", "store", "hydra.", "trainer", "executor")
"""Settings that change no figure; some name folders of whoever ran it."""


GRID = "grid.json"
"""File in which a folder keeps how many jobs its grid has."""


def keep_grid(folder: Path, jobs: int) -> None:
    """Write into a folder of sweeps how many jobs they are made of."""
    (folder / GRID).write_text(json.dumps({"jobs": jobs}) + "\n")


def part(folder: Path) -> str:
    """Return a sentence on a folder that lacks jobs of its grid; empty where it has all, or does not know of any."""
    file, ended = folder / GRID, len(list(folder.glob("*/result.json")))
    planned = json.loads(file.read_text())["jobs"] if file.exists() else ended
    return f"This is a part of the run: {ended} of its {planned} jobs are here." if ended < planned else ""


def origin(folder: Path, rows: Sequence[Row], command: str = "run.py -m", differ: Sequence[str] = ()) -> str:
    """Return one sentence on a folder of sweeps, after one that says so if it lacks jobs.

    Args:
        folder: in which `multirun.yaml` is that of the last sweep.
        rows: of all its sweeps.
        command: what was called.
        differ: settings in which the sweeps may differ: where they do, none of them is told.
    """
    file = folder / "multirun.yaml"
    task = OmegaConf.load(file).hydra.overrides.task if file.exists() else []
    told = [str(one) for one in task if not str(one).lstrip("+~").startswith(OF_THIS_MACHINE)]
    own = [one for one in told if one.partition("=")[0] in differ]
    if not all(_holds(one, row) for one in own for row in rows):
        told = [one for one in told if one not in own]
    revisions = " ".join(dict.fromkeys(cell(row.get("git_revision")) for row in rows))
    day = time.strftime("%Y-%m-%d", time.gmtime((file if file.exists() else folder).stat().st_mtime))
    return f"{part(folder)} python {command} {' '.join(told)}; revision {revisions}; {day}".lstrip()


def _holds(override: str, row: Row) -> bool:
    """Whether a row is of a sweep over these values."""
    name, _, values = override.partition("=")
    return cell(row.get(name)) in values.split(",")

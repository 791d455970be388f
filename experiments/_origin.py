"""Where a figure comes from: the command, the revision and the day."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from lpla.report.rows import Row, cell

OF_THIS_MACHINE = ("data.", "store", "hydra.", "trainer", "executor")
"""Settings that change no figure; some name folders of whoever ran it."""


def origin(folder: Path, rows: Sequence[Row]) -> str:
    """One sentence on a sweep's folder; overrides that only concern the machine are left out."""
    file = folder / "multirun.yaml"
    task = OmegaConf.load(file).hydra.overrides.task if file.exists() else []
    told = [str(one) for one in task if not str(one).lstrip("+~").startswith(OF_THIS_MACHINE)]
    revisions = " ".join(dict.fromkeys(cell(row.get("git_revision")) for row in rows))
    day = time.strftime("%Y-%m-%d", time.gmtime((file if file.exists() else folder).stat().st_mtime))
    return f"python run.py -m {' '.join(told)}; revision {revisions}; {day}"

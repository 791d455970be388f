"""At the end of a sweep: one table of all its jobs, on the terminal and as `table.csv`; exit code 1 if one failed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepTable(Callback):
    """A Hydra callback: what lies in the job folders becomes the sweep's table."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print and write the table of every row that the jobs left."""
        from rich import get_console

        from lpla.report.table import read_rows, show, write_csv

        folder = Path(config.hydra.sweep.dir)
        rows = read_rows(folder)
        if not rows:
            return
        console = get_console()
        show(rows)
        write_csv(rows, folder / "table.csv")
        console.print(f"table: {folder / 'table.csv'}", soft_wrap=True, highlight=False)
        jobs = {row["job"] for row in rows}
        failed = {row["job"] for row in rows if row.get("error")}
        if failed:
            console.print(f"{len(failed)} of {len(jobs)} jobs failed; the same command makes only what is missing")
            sys.exit(1)

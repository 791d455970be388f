"""At the end of a sweep: its tables on the terminal and as CSV, its page; exit code 1 if a job failed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from lpla.report.background import Beside


class SweepTable(Callback):
    """A Hydra callback: what lies in the job folders becomes their pages, and the sweep's tables."""

    def __init__(self) -> None:
        self._pages = Beside()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Have the page of a sweep's job written beside the jobs that follow; a single job writes its own."""
        if config.hydra.mode == RunMode.MULTIRUN:
            self._pages.add(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print and write every row that the jobs left, their seeds together, and the attacks against the best."""
        from rich import get_console

        from lpla.report import pairs, seeds
        from lpla.report.family import tally
        from lpla.report.rows import read_rows, write_csv
        from lpla.report.table import print_whole, show

        folder = Path(config.hydra.sweep.dir)
        rows = read_rows(folder)
        if not rows:
            self._pages.finish()
            return
        console = get_console()
        show(rows)
        write_csv(rows, folder / "table.csv")
        written = [folder / "table.csv"]
        for part, found in {seeds: seeds.aggregate(rows), pairs: pairs.compare(rows, folder)}.items():
            if found:
                print_whole(part.render(found))
                written.append(folder / f"{part.__name__.rpartition('.')[2]}.csv")
                write_csv(found, written[-1])
        for sentence in tally([row for row in rows if not row.get("error")]):
            console.print(sentence, soft_wrap=True, highlight=False)
        console.print(f"tables: {', '.join(map(str, written))}", soft_wrap=True, highlight=False)
        self._pages.add(folder)
        if not self._pages.finish():
            from lpla.report.page import write_all  # Seconds of imports, which that process has spared this one.

            write_all(folder)
        if (page := folder / "report.html").is_file():
            console.print(f"report: {page}", soft_wrap=True, highlight=False)
        jobs = {row["job"] for row in rows}
        failed = {row["job"] for row in rows if row.get("error")}
        if failed:
            console.print(f"{len(failed)} of {len(jobs)} jobs failed; the same command makes only what is missing")
            sys.exit(1)

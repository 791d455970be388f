"""At the end of a sweep: its tables on the terminal and as CSV, its page; exit code 1 if a job failed."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from lpla.report.outputs import jobs_below, rows_left
from lpla.report.rows import Row, write_csv

log = logging.getLogger(__name__)


class SweepTable(Callback):
    """A Hydra callback: what lies in the job folders becomes their pages, and the sweep's tables."""

    def __init__(self) -> None:
        self._pages = BackgroundWriter()
        self._ended = 0
        """Jobs that this process has run, each of which printed its own rows."""

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Have the page of a sweep's job written beside the jobs that follow; a single job writes its own."""
        self._ended += 1
        if config.hydra.mode == RunMode.MULTIRUN:
            self._pages.add(Path(config.hydra.runtime.output_dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print and write every row that the jobs left, their seeds together, and the attacks against the best."""
        from rich import get_console

        folder = Path(config.hydra.sweep.dir)
        rows = rows_left(folder) if jobs_below(folder) else []
        if not rows:
            self._pages.finish()
            return
        console = get_console()
        # A job alone has printed its rows, and there is nothing that several say together.
        _tables(rows, folder, alone=self._ended == 1 and len({row["job"] for row in rows}) == 1)
        self._pages.add(folder)
        if not self._pages.finish():
            from lpla.report.page import write_all  # Seconds of imports, which that process has spared this one.

            write_all(folder)
        if (page := folder / "report.html").is_file():
            console.print(f"report: {page}", soft_wrap=True, highlight=False)
        if small := [str(folder / name) for name in ("seeds.tex", "seeds.md") if (folder / name).is_file()]:
            console.print(f"for a paper: {', '.join(small)}", soft_wrap=True, highlight=False)
        jobs = {row["job"] for row in rows}
        failed = {row["job"] for row in rows if row.get("error")}
        if failed:
            console.print(f"{len(failed)} of {len(jobs)} jobs failed; the same command makes only what is missing")
            sys.exit(1)


def _tables(rows: Sequence[Row], folder: Path, alone: bool) -> None:
    """Print and write the tables of a sweep, and what its rows say together; of a job alone, write them only."""
    from rich import get_console

    from lpla.report import exposure, pairs, seeds
    from lpla.report.tally import tally
    from lpla.report.terminal import print_whole, show, width

    console = get_console()
    if not alone:
        show(rows)
    write_csv(rows, folder / "table.csv")
    written = [folder / "table.csv"]
    for part, found in {seeds: seeds.aggregate(rows), pairs: pairs.compare(rows, folder)}.items():
        if found:
            print_whole(part.render(found, width()))
            written.append(folder / f"{part.__name__.rpartition('.')[2]}.csv")
            write_csv(found, written[-1])
    if stable := exposure.over_seeds(rows, folder):
        written.append(exposure.write(stable, folder))
    measured = [row for row in rows if not row.get("error")]
    for sentence in [] if alone else tally(measured):
        console.print(sentence, soft_wrap=True, highlight=False)
    console.print(f"tables: {', '.join(map(str, written))}", soft_wrap=True, highlight=False)


class BackgroundWriter:
    """Writes the pages of a sweep and its jobs in one process beside it, so that no job waits for them.

    The process is `python -m lpla.report -`: it begins with the first job and ends with what it was given.
    """

    def __init__(self) -> None:
        self._process: Popen[str] | None = None

    def add(self, folder: Path) -> None:
        """Have the page of a job's or a sweep's folder written, after those that were added before."""
        if self._process is None:
            self._process = Popen([sys.executable, "-m", "lpla.report", "-"], stdin=PIPE, text=True)
        # A process that has ended is reported by `finish`.
        with contextlib.suppress(BrokenPipeError):
            print(folder, file=self._process.stdin, flush=True)

    def finish(self) -> bool:
        """Wait until every page is written; False, and a warning, if the process did not come to its end."""
        if self._process is None:
            return True
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        code, self._process = self._process.returncode, None
        if code:
            log.warning("the process that writes the pages of a sweep ended with code %d", code)
        return code == 0

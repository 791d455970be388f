"""The pages of a sweep and its jobs, written by one process beside the sweep, so that no job waits for them."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from subprocess import PIPE, Popen

log = logging.getLogger(__name__)


class Beside:
    """The process, `python -m lpla.report -`: it begins with the first job and ends with what it was given."""

    def __init__(self) -> None:
        self._process: Popen[str] | None = None

    def add(self, folder: Path) -> None:
        """Have the page of a job's or a sweep's folder written, after those that were added before."""
        if self._process is None:
            self._process = Popen([sys.executable, "-m", "lpla.report", "-"], stdin=PIPE, text=True)
        # A process that has ended is spoken of in the end.
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

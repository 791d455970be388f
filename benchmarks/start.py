"""Starting up: whole commands, each a process of its own, beside the import of the library that it has to have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.encoder import ROOT
from benchmarks.measure import Row, interleaved, seconds_of
from benchmarks.sizes import Audit

ANSWERS = {"--help": (["--help"], 0), "--cfg job": (["--cfg", "job"], 0), "unknown option": (["nonsense=1"], 1)}
"""Arguments of commands that need Hydra alone, and the exit code that they must have."""
WARM = "that finds everything"
"""A job that needs torch, but nothing that trains."""


def rows(audit: Audit, repeats: int) -> list[Row]:
    """Seconds of commands, from their start to their end, interleaved with those of the imports."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command(folder, audit.settings)  # trains the encoders
        commands = ANSWERS | {WARM: (audit.settings, 0)}
        work = {name: partial(command, folder, arguments, code) for name, (arguments, code) in commands.items()}
        work |= {library: partial(_python, folder, ["-c", f"import {library}"]) for library in ("hydra", "torch")}
        found = interleaved({name: partial(seconds_of, one) for name, one in work.items()}, repeats)
    answers = [
        Row("commands", f"run.py {name}", "s", found[name], None, found["hydra"], "1.5 x limit") for name in ANSWERS
    ]
    return [*answers, Row("commands", f"a job {WARM}", "s", found[WARM], None, found["torch"], "1.3 x limit + 1 s")]


def command(folder: Path, arguments: Sequence[str], code: int = 0) -> None:
    """Run `run.py ARGUMENTS` in `folder`; raises RuntimeError unless it ends with the exit code `code`."""
    _python(folder, [str(ROOT / "run.py"), *arguments], code)


def _python(folder: Path, arguments: Sequence[str], code: int = 0) -> None:
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr or done.stdout}")

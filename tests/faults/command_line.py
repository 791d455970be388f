"""`python run.py ARGUMENTS` as a process of its own that can be killed, without the seconds that imports take.

A fork server imports everything once; its children are real processes with real exit codes.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from tiny_audit import ROOT, once

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "lpla.auditing.job",
        "lpla.training.pretraining",
        "lpla.training.checkpoint",
        "lpla.work.rehearsal",
        "lpla.report.page",
        "lightly.loss",
        "lightly.models",
        "lpla.encoders.arch.simclr",
        "lpla.attacks.attack.lpla",
        "lpla.encoders.backbone.cifar_resnet",
        "lpla.data.dataset.digits",
    ]
)
OUTPUT = "output.txt"


def start(folder: Path, *arguments: str, arm: Callable[..., None] | None = None, given: tuple = ()) -> BaseProcess:
    """The command in `folder`, all that it prints in a file there; `arm(*given)` prepares the fault within it."""
    process = SERVER.Process(target=_command, args=(folder, arguments, arm, given), daemon=True)
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Its exit code; minus the signal's number if a signal killed it."""
    process.join(600)
    assert process.exitcode is not None, "it did not end"
    return process.exitcode


def output(folder: Path) -> str:
    return (folder / OUTPUT).read_text()


def _command(folder: Path, arguments: tuple[str, ...], arm: Callable[..., None] | None, given: tuple) -> None:
    os.chdir(folder)
    printed = os.open(OUTPUT, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(printed, stream)
    # As at a terminal: what a shell starts in the background ignores it, and so would the tests' children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["run.py", *once(*arguments)]
    if arm:
        arm(*given)
    runpy.run_path(str(ROOT / "run.py"), run_name="__main__")

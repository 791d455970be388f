"""One rank of a unit: it meets the others, reports to the process that launched it, and does not outlive it."""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist

from lpla.encoders import ranks
from lpla.work.launcher import MARK, Advance
from lpla.work.recipe import Unit


class Reports(logging.Handler):
    """Writes progress, the log of this package and what was made as lines of JSON; only rank 0 is heard."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._numbers = itertools.count()
        # Whatever else prints to the standard output of this process is to be found among its errors.
        self._file = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def begin(self, task: str, total: int) -> Advance:
        """Announce a task of `total` steps; returns the function that advances it."""
        number = next(self._numbers)
        self._say(number=number, task=task, total=total)
        return lambda steps: self._say(number=number, steps=steps)

    def end(self, made: dict[str, Any]) -> None:
        """Say what was made."""
        self._say(made=made)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on a line of the log."""
        self._say(logger=record.name, level=record.levelno, message=record.getMessage())

    def _say(self, **event: Any) -> None:
        if ranks.number() == 0:
            self._file.write(f"{MARK}{json.dumps(event)}\n")


@contextmanager
def joined(unit: Unit, folder: Path) -> Iterator[Reports]:
    """Make this process a rank of `unit` for a while; ranks of one host meet in `folder`, which opens no port."""
    threading.Thread(target=_end_with_the_launcher, daemon=True).start()
    reports = Reports()
    logging.getLogger("lpla").addHandler(reports)
    logging.getLogger("lpla").setLevel(logging.INFO)
    strategy = unit.source.trainer_factory()().strategy
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        number, count, device = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), strategy.root_device
        dist.init_process_group(
            dist.get_default_backend_for_device(device),
            store=dist.FileStore(str(folder / "group"), count),  # pyright: ignore[reportPrivateImportUsage]  # documented
            rank=number,
            world_size=count,
            device_id=None if device.type == "cpu" else device,
        )
    # Lightning keeps a process group that is there, and makes one where the hosts are several.
    strategy.setup_environment()
    yield reports
    dist.destroy_process_group()


def _end_with_the_launcher() -> None:
    """The standard input is a pipe from the process that launched the ranks, which ends when that does."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    print("the process that launched this rank has ended", file=sys.stderr, flush=True)
    os._exit(1)

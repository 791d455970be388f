"""Rank 0's reports to the process that launched it: lines of JSON in a file, one an event."""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Advance = Callable[[int], None]
Begin = Callable[[str, int], Advance]
"""Announces a task of so many steps; returns the function that advances it."""

SECONDS = 0.1
"""Between two looks at the file."""


class Events(logging.Handler):
    """Writes progress, the log of this package, and what was made."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._path, self._numbers = path, itertools.count()

    def __enter__(self) -> Events:
        self._file = self._path.open("a", buffering=1)
        logging.getLogger("lpla").addHandler(self)
        logging.getLogger("lpla").setLevel(logging.INFO)
        return self

    def __exit__(self, *failure: object) -> None:
        logging.getLogger("lpla").removeHandler(self)
        self._file.close()

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
        self._file.write(json.dumps(event) + "\n")


@contextmanager
def followed(path: Path, begin: Begin) -> Iterator[dict[str, Any]]:
    """Within, a thread repeats here what is written to `path`; what was made is in the dictionary afterwards."""
    path.touch()
    made: dict[str, Any] = {}
    tasks: dict[int, Advance] = {}

    def repeat(event: dict[str, Any]) -> None:
        if "made" in event:
            made.update(event["made"])
        elif "message" in event:
            logging.getLogger(event["logger"]).log(event["level"], "%s", event["message"])
        elif "total" in event:
            tasks[event["number"]] = begin(event["task"], event["total"])
        else:
            tasks[event["number"]](event["steps"])

    over = threading.Event()
    follower = threading.Thread(target=_follow, args=(path, over, repeat), daemon=True)
    follower.start()
    try:
        yield made
    finally:
        over.set()
        follower.join()


def _follow(path: Path, over: threading.Event, repeat: Callable[[dict[str, Any]], None]) -> None:
    rest = ""
    with path.open() as file:
        while True:
            last = over.is_set()
            # A line may have been written in part.
            *lines, rest = (rest + file.read()).split("\n")
            for line in lines:
                repeat(json.loads(line))
            if last:
                return
            time.sleep(SECONDS)

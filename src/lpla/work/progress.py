"""Progress bars on the terminal; where there is none (a log file, CI) only the lines beside them are printed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from rich import get_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress


@runtime_checkable
class Progress(Protocol):
    """Receives the reports of a unit on how far it is."""

    def begin(self, task: str, total: int) -> Callable[[int], None]:
        """Announce a task of `total` steps; returns the function that advances it."""
        ...


class Bars:
    """A context in which tasks are shown while they run and disappear when they are done."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        clocks = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        console = get_console()
        self._progress = RichProgress(*columns, *clocks, console=console, transient=True)
        self._drawn = console.is_interactive or console.is_jupyter

    def __enter__(self) -> Bars:
        if self._drawn:
            self._progress.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._drawn:  # Rich prints an empty line elsewhere.
            self._progress.stop()

    def begin(self, task: str, total: int) -> Callable[[int], None]:
        """Show a task of `total` steps from its first step on; returns the function that advances it."""
        bar = self._progress.add_task(task, total=total, visible=False)
        return lambda steps: self._advance(bar, steps)

    def __reduce__(self) -> tuple[type[Unseen], tuple[()]]:
        """Another process cannot draw on this one's terminal."""
        return Unseen, ()

    def _advance(self, bar: TaskID, steps: int) -> None:
        self._progress.update(bar, advance=steps, visible=True)
        if next(t for t in self._progress.tasks if t.id == bar).finished:
            self._progress.remove_task(bar)


class Unseen:
    """Progress that nobody sees."""

    def begin(self, task: str, total: int) -> Callable[[int], None]:
        """A function that does nothing."""
        return lambda steps: None


class Lines(logging.Handler):
    """Log messages as lines above the bars, unfolded; warnings in yellow, errors in red."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        style = "red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else None
        get_console().print(self.format(record), style=style, markup=False, highlight=False, soft_wrap=True)

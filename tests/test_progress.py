"""Progress is drawn on a terminal and leaves nothing in a file."""

import io

import pytest
from rich.console import Console

from lpla.work import progress
from lpla.work.progress import Bars


def shown(console: Console, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(progress, "get_console", lambda: console)
    with Bars() as bars:
        bars.begin("training", 2)(1)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_file_has_no_line_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(Console(file=io.StringIO()), monkeypatch) == ""


def test_a_terminal_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "training" in shown(Console(file=io.StringIO(), force_terminal=True, force_interactive=True), monkeypatch)

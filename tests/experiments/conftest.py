"""An experiment's command, run to its end in a folder of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tiny_audit import Finished


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Finished:
    """Run a command with its arguments, which trains so many encoders; returns the one folder that it leaves."""
    monkeypatch.chdir(tmp_path)

    def run(command: Callable[[Sequence[str]], int], arguments: Sequence[str], encoders: int) -> Path:
        assert command(arguments) == 0
        assert f"{encoders} of {encoders} encoders to train" in capfd.readouterr().out
        (folder,) = (tmp_path / "outputs").iterdir()
        return folder

    return run

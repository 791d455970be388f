"""SIGINT and SIGTERM: once after the current step, twice at once; the exit code says which, a sentence how to go on."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import OUTPUT, ended, output, start
from tiny_audit import TINY, Ran
from whole import SMALL, Left, left, whole_artifacts

from lpla.training import signals
from lpla.training.signals import Stopped, asked, check, stoppable

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


def signal_in_step(number: int, last: int) -> None:
    """The signal comes within a step, which says so at its start and at its end."""
    from lpla.training.pretraining import Pretraining

    usual, seen = Pretraining.training_step, []

    def step(self: Pretraining, *args) -> object:
        seen.append("")
        print(f"step {len(seen)} begins", flush=True)
        if len(seen) == last:
            os.kill(os.getpid(), number)
        loss = usual(self, *args)
        print(f"step {len(seen)} ends", flush=True)
        return loss

    Pretraining.training_step = step  # pyright: ignore[reportAttributeAccessIssue]


def say_and_wait() -> None:
    """A phase without steps, long enough for anybody to lose patience."""
    import lpla.auditing.job

    def judge(*_) -> None:
        print("judging", flush=True)
        for _ in range(1200):
            time.sleep(0.05)

    lpla.auditing.job.judge = judge


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("last", [8 + 4, 8 + 5], ids=["last of an epoch", "amid an epoch"])
def test_once_ends_the_step_and_the_same_command_goes_on(
    number: signal.Signals, last: int, cli: Callable[..., Ran], undisturbed: Left, tmp_path: Path
) -> None:
    # The first 8 steps are the estimate's, then there are 2 in each epoch.
    process = start(tmp_path, *TINY, *SMALL, arm=signal_in_step, given=(number, last))
    assert ended(process) == 128 + number
    said = output(tmp_path)
    assert f"{number.name}: stopping after the current step; once more stops at once" in said
    assert said.count(" begins") == said.count(" ends") == last
    kept = "finished artifacts and the last checkpoint of the encoder under way are kept"
    assert f"stopped by {number.name}: {kept}; the same command goes on from there" in said
    assert "Traceback" not in said
    assert [parts for parts, _ in whole_artifacts(tmp_path / "store")] == ["checkpoints"]
    ran = cli(*TINY, *SMALL)
    assert "goes on after epoch 2 of 4" in ran.out
    assert left(ran.folder, tmp_path / "store") == undisturbed


@pytest.mark.slow
@BOTH
def test_twice_stops_at_once(number: signal.Signals, tmp_path: Path) -> None:
    process = start(tmp_path, *TINY, *SMALL, arm=say_and_wait)
    assert process.pid
    wait_for(tmp_path, "judging")
    os.kill(process.pid, number)
    wait_for(tmp_path, f"{number.name}: stopping after the current step")
    os.kill(process.pid, number)
    assert ended(process) == 128 + number
    assert f"stopped by {number.name}" in output(tmp_path)


def wait_for(folder: Path, words: str) -> None:
    end = time.monotonic() + 600
    while not ((folder / OUTPUT).exists() and words in output(folder)):
        assert time.monotonic() < end, output(folder)
        time.sleep(0.05)


def test_outside_and_afterwards_signals_are_what_they_were() -> None:
    before = [signal.getsignal(one) for one in signals.SIGNALS]
    with pytest.raises(Stopped) as stopped, stoppable():
        with stoppable():
            signal.raise_signal(signal.SIGTERM)
        assert asked()
        check()
    assert stopped.value.code == 143 and not asked()
    check()
    assert [signal.getsignal(one) for one in signals.SIGNALS] == before


def test_a_library_that_catches_the_signal_itself() -> None:
    with pytest.raises(Stopped) as stopped, stoppable():
        signal.raise_signal(signal.SIGTERM)
        raise KeyboardInterrupt
    assert stopped.value.code == 143


def test_an_ignored_signal_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGINT)
            assert not asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_changes() -> None:
    found = []

    def inside() -> None:
        with stoppable():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]

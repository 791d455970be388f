"""Others at the same store: two audits at once, a lock whose holder is dead, a prune while a training lives."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ended, output, start
from tiny_audit import TINY, Ran
from whole import SMALL, Left, left

from lpla.store import __main__ as module
from lpla.store.__main__ import main
from lpla.store.artifacts import Store

DAY = 86_400


def results(folder: Path) -> list[Path]:
    return sorted(file.parent for file in (folder / "outputs").rglob("scores.npz"))


@pytest.mark.slow
def test_two_audits_at_once_train_each_encoder_once(tmp_path: Path, undisturbed: Left) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    both = [start(folder, *TINY, *SMALL, f"store={tmp_path / 'store'}") for folder in folders]
    assert [ended(one) for one in both] == [0, 0], [output(folder) for folder in folders]
    # A target, its two shadows and an untrained one, whoever made them.
    assert sum(output(folder).count(": trained and observed") for folder in folders) == 4
    for folder in folders:
        (place,) = results(folder)
        assert left(place, tmp_path / "store") == undisturbed


def die_with_the_lock() -> None:
    import os

    from lpla.work.trained import Trained

    Trained._train = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.slow
def test_a_stale_lock_holds_nobody_up(cli: Callable[..., Ran], undisturbed: Left, tmp_path: Path) -> None:
    assert ended(start(tmp_path, *TINY, *SMALL, arm=die_with_the_lock)) == -signal.SIGKILL
    assert list((tmp_path / "store" / "locks").iterdir())
    ran = cli(*TINY, *SMALL)
    assert ran.code == 0 and left(ran.folder, tmp_path / "store") == undisturbed


def test_prune_leaves_the_scratch_of_the_living(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = Store(tmp_path), time.time()
    dead = tmp_path / "unfinished" / "dead"
    dead.mkdir()
    (dead / "held.lock").touch()
    monkeypatch.setattr(module.time, "time", lambda: now + 9 * DAY)
    with store.scratch() as alive:
        (alive / "0").mkdir()
        (alive / "0" / "rows.npy").write_bytes(b"1")
        main(["--store", str(tmp_path), "prune", "0"])
        assert (alive / "0" / "rows.npy").exists() and not dead.exists()
    assert "deleted 0 artifacts and 1 leftovers" in capsys.readouterr().out

"""What a disk can do to a store: full, read-only, gone in the midst of a run."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_audit import TINY, Ran
from whole import SMALL, Left, left, whole_artifacts

from lpla.store.artifacts import Store

pytestmark = pytest.mark.slow

Cli = Callable[..., Ran]
ROOM_FOR = {"nothing": 40, "some of it": 250, "most of it": 450}
"""KiB."""


@pytest.mark.parametrize("size", ROOM_FOR.values(), ids=ROOM_FOR)
def test_a_full_disk(
    size: int, cli: Cli, undisturbed: Left, disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = disk(f"size={size}k") / "store"
    with monkeypatch.context() as patch:
        # It fills up by others' hands, after the job's own needs were counted.
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**40))
        full = cli(*TINY, *SMALL, f"store={store}")
    assert full.code == 1
    (error,) = [line for line in full.out.splitlines() if line.startswith("error: ")]
    assert f"store={store} refused " in error and "No space left on device; finished " in error
    finished = whole_artifacts(store)
    disk("size=50m")
    ran = cli(*TINY, *SMALL, f"store={store}")
    assert ran.code == 0, ran.out
    assert left(ran.folder, store) == undisturbed
    assert {place for kind, place in finished if kind != "checkpoints"} <= {
        place for _, place in whole_artifacts(store)
    }


def test_a_read_only_store(cli: Cli, undisturbed: Left, disk: Callable[[str], Path]) -> None:
    store = disk("size=50m") / "store"
    assert cli(*TINY, *SMALL, f"store={store}").code == 0
    disk("ro")
    ran = cli(*TINY, *SMALL, f"store={store}", "seed=1")
    assert ran.code == 1
    assert (
        f"store must be a folder this user can write, but {store} cannot be written (Read-only file system)" in ran.out
    )
    disk("rw")
    assert left(cli(*TINY, *SMALL, f"store={store}").folder, store) == undisturbed


def test_a_store_deleted_during_a_run(
    cli: Cli, undisturbed: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _after_encoders(2, lambda: shutil.rmtree(tmp_path / "store"), patch)
        ran = cli(*TINY, *SMALL)
    assert ran.code == 1
    assert f"error: store={tmp_path / 'store'} must stay in place during a run, but {tmp_path / 'store'}/" in ran.out
    assert "(No such file or directory); the same command makes what is missing" in ran.out
    assert left(cli(*TINY, *SMALL).folder, tmp_path / "store") == undisturbed


def test_artifacts_deleted_before_they_are_judged(
    cli: Cli, undisturbed: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _after_encoders(4, lambda: shutil.rmtree(tmp_path / "store" / "statistics"), patch)
        ran = cli(*TINY, *SMALL)
    assert ran.code == 1 and "must stay in place during a run" in ran.out
    assert left(cli(*TINY, *SMALL).folder, tmp_path / "store") == undisturbed


def _after_encoders(count: int, happens: Callable[[], object], patch: pytest.MonkeyPatch) -> None:
    """Something that happens when that many encoders are finished (of two shadows, a target and an untrained one)."""
    usual, seen = Store.put, []

    def put(self: Store, kind: str, *args) -> Path:
        place = usual(self, kind, *args)
        seen.append(kind)
        if kind == "encoders" and seen.count("encoders") == count:
            happens()
        return place

    patch.setattr(Store, "put", put)

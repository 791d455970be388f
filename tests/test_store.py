"""The store: keys, atomic writes, damage named and set aside, locks, refusals of the disk, its command line."""

import errno
import json
import math
import multiprocessing
import os
import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_audit import ROOT

from lpla.contracts.inputs import InputError
from lpla.store import artifacts as module
from lpla.store import provenance
from lpla.store.__main__ import main
from lpla.store.artifacts import HELD, Store, key_of

PARTS = {"train": {"epochs": 20, "seed": 1}, "p": [1.0, math.inf]}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def write(folder: Path) -> None:
    (folder / "weights").write_bytes(b"w" * 1000)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_key_does_not_depend_on_order_or_on_a_trip_through_a_file(parts: dict) -> None:
    assert key_of(parts) == key_of(dict(reversed(parts.items()))) == key_of(json.loads(json.dumps(parts)))


def test_every_part_changes_the_key() -> None:
    other = {"train": {"epochs": 20, "seed": 2}, "p": [1.0, math.inf]}
    assert key_of(PARTS) != key_of(other) != key_of(PARTS | {"p": [1.0]})


def test_what_is_put_is_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.find("encoders", PARTS) is None
    place = store.put("encoders", PARTS, write)
    assert store.find("encoders", PARTS) == place
    assert [(kind, found) for kind, found, parts in store.artifacts()] == [("encoders", place)]
    assert json.loads((place / "recipe.json").read_text()) == PARTS


def test_an_interrupted_write_leaves_nothing_under_the_key(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def interrupted(folder: Path) -> None:
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put("encoders", PARTS, interrupted)
    assert store.find("encoders", PARTS) is None
    assert not list((tmp_path / "unfinished").iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "deleted", "no checksums", "torn checksums"])
def test_damage_is_named_set_aside_and_made_again(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    place = store.put("encoders", PARTS, write)
    file = place / "weights"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:500])
    elif damage == "flipped":
        file.write_bytes(b"x" + file.read_bytes()[1:])
    elif damage == "deleted":
        file.unlink()
    elif damage == "no checksums":
        (place / "checksums.json").unlink()
    else:
        (place / "checksums.json").write_text("{")
    assert store.find("encoders", PARTS) is None
    assert str(place) in caplog.text
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    assert store.find("encoders", PARTS) is None
    assert store.put("encoders", PARTS, write) == store.find("encoders", PARTS)


def test_a_full_disk_is_one_sentence_and_leaves_no_draft(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def full(folder: Path) -> None:
        write(folder)
        raise OSError(28, os.strerror(28))

    kept = store.put("encoders", PARTS | {"p": []}, write)
    with pytest.raises(InputError, match=r"refused encoders .*No space left on device; finished artifacts are kept"):
        store.put("encoders", PARTS, full)
    assert not list((tmp_path / "unfinished").iterdir())
    assert [place for _, place, _ in store.artifacts()] == [kept]


def test_a_store_that_is_a_file_or_stands_in_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in ("file", "file/below"):
        with pytest.raises(
            InputError, match=r"store must be a folder this user can write, but .*file.* cannot be written"
        ):
            Store(tmp_path / root)


def _hold(root: Path, log: Path, name: str, seconds: float) -> None:
    with Store(root).lock("encoders", PARTS):
        with log.open("a") as out:
            out.write(f"{name} in\n")
        time.sleep(seconds)
        with log.open("a") as out:
            out.write(f"{name} out\n")


@pytest.mark.slow
@pytest.mark.parallel
def test_two_makers_take_turns(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    makers = [spawn.Process(target=_hold, args=(tmp_path / "store", log, name, 0.3)) for name in "ab"]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
        assert maker.exitcode == 0
    first, second = log.read_text().split()[0], log.read_text().split()[4]
    assert log.read_text() == f"{first} in\n{first} out\n{second} in\n{second} out\n"


@pytest.mark.slow
@pytest.mark.parallel
def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    holder = spawn.Process(target=_hold, args=(tmp_path / "store", log, "dead", 600))
    holder.start()
    while not log.exists():
        time.sleep(0.05)
    holder.kill()
    holder.join()
    with Store(tmp_path / "store").lock("encoders", PARTS):
        pass


def test_a_miss_is_explained_by_the_nearest_artifact(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    store = Store(tmp_path)
    store.put("encoders", {"train": {"epochs": 99, "seed": 9}, "p": []}, write)
    store.put("encoders", PARTS, write)
    wanted = {"train": {"epochs": 40, "seed": 1}, "p": [1.0, math.inf]}
    assert store.nearest("encoders", wanted) == ["train.epochs: 20 -> 40"]
    place = store.put("encoders", wanted, write)
    main(["--store", str(tmp_path), "explain", place.name[:8]])
    assert "train.epochs: 20 -> 40" in capsys.readouterr().out


def test_list_and_prune(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    place = store.put("encoders", PARTS, write)
    main(["--store", str(tmp_path), "list"])
    assert place.name in capsys.readouterr().out
    (tmp_path / "unfinished" / "draft").mkdir()
    main(["--store", str(tmp_path), "prune", "1"])
    assert place.exists()
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 2 * 86_400)
    main(["--store", str(tmp_path), "prune", "1"])
    assert not place.exists()
    assert not list((tmp_path / "unfinished").iterdir())
    assert "deleted 1 artifacts and 1 leftovers" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["list"], ["explain", "a"], ["prune", "0"]], ids=lambda command: command[0])
def test_a_folder_that_is_no_store_is_refused_and_left_alone(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "encoders" / "mine").mkdir(parents=True)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "letter.txt").write_text("dear reader")
    with pytest.raises(SystemExit, match="must be a store of lpla"):
        main(["--store", str(tmp_path), *command])
    assert (tmp_path / "damaged" / "letter.txt").exists() and not (tmp_path / "unfinished").exists()


def test_prune_deletes_nothing_outside_the_store_and_no_stray_file(tmp_path: Path) -> None:
    store, elsewhere = Store(tmp_path / "store"), tmp_path / "elsewhere"
    place = store.put("encoders", PARTS, write)
    shutil.copytree(place, elsewhere / "artifact")
    (store.root / "linked").symlink_to(elsewhere)
    (store.root / "damaged").mkdir()
    for folder in ("damaged", "unfinished", "encoders"):
        (store.root / folder / "link").symlink_to(elsewhere / "artifact")
        (store.root / folder / "stray.txt").write_text("a file of somebody's")
    main(["--store", str(store.root), "prune", "0"])
    assert not place.exists() and list((elsewhere / "artifact").iterdir())
    assert (store.root / "encoders" / "stray.txt").exists()


@pytest.mark.parametrize("name", ["damaged", "unfinished", "locks", ".lpla-store"])
def test_a_store_whose_own_folders_are_links_is_refused_and_nothing_behind_them_touched(
    name: str, tmp_path: Path
) -> None:
    store, elsewhere = Store(tmp_path / "store"), tmp_path / "elsewhere"
    place = store.put("encoders", PARTS, write)
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "sub" / "letter.txt").write_text("dear reader")
    if (own := store.root / name).exists():
        own.rename(tmp_path / "was")
    own.symlink_to(elsewhere / "sub" / "letter.txt" if name.startswith(".") else elsewhere)
    os.utime(elsewhere / "sub", (0, 0))
    with pytest.raises(SystemExit, match=f"without links within it, but .*{name} is one"):
        main(["--store", str(store.root), "prune", "0"])
    with pytest.raises(InputError, match=f"store must be a folder without links within it, but .*{name} is one"):
        Store(store.root)
    assert (elsewhere / "sub" / "letter.txt").read_text() == "dear reader" and place.exists()
    assert [one.name for one in elsewhere.iterdir()] == ["sub"]


@pytest.mark.parametrize("kind", ["checkpoints", "utility"])
@pytest.mark.parametrize("level", ["kind", "artifact"])
def test_no_artifact_is_looked_for_behind_a_link(kind: str, level: str, tmp_path: Path) -> None:
    store, elsewhere = Store(tmp_path / "store"), tmp_path / "elsewhere"
    place = store.put(kind, PARTS, write)
    behind = place.parent if level == "kind" else place
    shutil.move(behind, elsewhere)
    behind.symlink_to(elsewhere)
    before = sorted((path, path.stat().st_mtime_ns) for path in elsewhere.rglob("*"))
    for use in (store.find, store.has, store.delete, lambda kind, parts: store.put(kind, parts, write)):
        with pytest.raises(InputError, match=f"without links within it, but {behind} is one"):
            use(kind, PARTS)
    main(["--store", str(store.root), "prune", "0"])
    assert sorted((path, path.stat().st_mtime_ns) for path in elsewhere.rglob("*")) == before and before


def test_a_draft_whose_lock_is_a_link_and_an_artifact_with_a_linked_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, letter = Store(tmp_path / "store"), tmp_path / "letter.txt"
    letter.write_text("dear reader")
    draft, place = store.root / "unfinished" / "draft", store.put("encoders", PARTS, write)
    draft.mkdir()
    (draft / HELD).symlink_to(letter)
    os.utime(draft, (0, 0))
    file = next(one for one in place.iterdir() if one.name != "checksums.json")
    file.rename(tmp_path / "moved")
    file.symlink_to(tmp_path / "moved")
    assert store.find("encoders", PARTS) is None and f"{file} is a link" in caplog.text
    main(["--store", str(store.root), "prune", "0"])
    assert not draft.exists() and not list((store.root / "damaged").iterdir())
    assert letter.read_text() == "dear reader" and (tmp_path / "moved").exists()


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "soon"])
def test_prune_takes_days_from_zero_on(days: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    place = Store(tmp_path).put("encoders", PARTS, write)
    with pytest.raises(SystemExit):
        main(["--store", str(tmp_path), "prune", "--", days])
    assert f"DAYS must be a number >= 0, got {days}" in capsys.readouterr().err and place.exists()


def test_a_dry_run_of_prune_names_what_it_would_delete(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    place = Store(tmp_path).put("encoders", PARTS, write)
    main(["--store", str(tmp_path), "prune", "0", "--dry-run"])
    out = capsys.readouterr().out
    assert f"encoders/{place.name}" in out and "would delete 1 artifacts" in out and place.exists()


def test_what_was_used_lately_is_not_pruned(tmp_path: Path) -> None:
    store, old = Store(tmp_path), time.time() - 9 * 86_400
    used, unused = (store.put("encoders", PARTS | {"number": n}, write) for n in (0, 1))
    for place in (used, unused):
        os.utime(place, (old, old))
    assert store.find("encoders", PARTS | {"number": 0}) == used
    main(["--store", str(tmp_path), "prune", "2"])
    assert used.exists() and not unused.exists()


def test_list_and_explain_write_nothing(tmp_path: Path) -> None:
    place = Store(tmp_path).put("encoders", PARTS, write)
    before = sorted((path, path.lstat().st_mtime_ns) for path in tmp_path.rglob("*"))
    main(["--store", str(tmp_path), "list"])
    main(["--store", str(tmp_path), "explain", place.name[:6]])
    assert sorted((path, path.lstat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    with pytest.raises(SystemExit, match="KEY must be"):
        main(["--store", str(tmp_path), "explain", "zz"])


def test_scratch_is_gone_afterwards_and_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.scratch() as folder:
        (folder / "part").mkdir()
        assert folder.is_relative_to(tmp_path)
    assert not folder.exists()
    for number, kind in ((errno.ENOSPC, InputError), (errno.ENOENT, FileNotFoundError)):
        with pytest.raises(kind) as raised, store.scratch() as folder:
            raise OSError(number, os.strerror(number))
        assert os.strerror(number) in str(raised.value) and not folder.exists()
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_tuple_and_the_list_it_becomes_in_a_file_are_no_difference(tmp_path: Path) -> None:
    store = Store(tmp_path)
    parts = {"train": {"views": {"crop_scale": (0.2, 1.0), "blur_sigma": (0.1, 2.0)}, "epochs": 1}}
    store.put("encoders", parts, write)
    wanted = {"train": parts["train"] | {"epochs": 2}}
    assert store.nearest("encoders", wanted) == ["train.epochs: 1 -> 2"]


def test_the_nearest_artifact_is_looked_for_among_its_kind_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.put("encoders", PARTS, write)
    for number in range(3):
        store.put("statistics", {"number": number}, write)
    read: list[Path] = []
    usual = Path.read_text

    def counted(self: Path, *args: str) -> str:
        read.append(self)
        return usual(self, *args)

    monkeypatch.setattr(Path, "read_text", counted)
    assert store.nearest("encoders", PARTS | {"p": []}) == [f"p: {[1.0, math.inf]} -> []"]
    assert [file.parent.parent.name for file in read] == ["encoders"]
    assert store.nearest("utility", PARTS) == []


def test_every_artifact_has_its_provenance_which_is_in_no_key(tmp_path: Path) -> None:
    store = Store(tmp_path)
    made = provenance.describe("cuda (a GPU)", "bf16-mixed")
    place = store.put("encoders", PARTS, write, made)
    assert provenance.read(place) == made and "provenance.json" in json.loads((place / "checksums.json").read_text())
    assert place == store.find("encoders", PARTS) == store.put("encoders", PARTS, write)
    here = provenance.read(store.put("encoders", {}, write))
    assert (here["device"], here["precision"], here["threads"]) == ("cpu", "32-true", torch.get_num_threads())
    assert {"python", "lpla", "torch", "torchvision", "lightly", "pytorch-lightning", "numpy", "scipy",
            "scikit-learn"} == set(here["versions"])  # fmt: skip
    assert here["git_revision"] == provenance.git_revision()
    assert 0 <= time.time() - datetime.fromisoformat(here["time"]).timestamp() < 60


def test_a_mixture_of_provenances_is_a_sentence_that_names_the_differences() -> None:
    here = provenance.describe()
    later = here | {"time": "later", "precision": "bf16-mixed"}
    assert provenance.mixed([]) == provenance.mixed([here]) == provenance.mixed([here, later, here]) == ""
    others = [
        here | {"threads": 99},
        here | {"versions": here["versions"] | {"torch": "9"}},
        here | {"git_revision": ""},
    ]
    found = provenance.mixed([here | {"git_revision": "abc"}, *others])
    assert found.startswith("artifacts of several provenances were mixed: ")
    assert "git_revision abc and " in found and " and unknown" in found
    assert f"threads {here['threads']} and 99" in found and f"torch {here['versions']['torch']} and 9" in found
    assert "device" not in found and "numpy" not in found


def test_a_checkout_without_git_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_revision.__wrapped__() == ""


@pytest.mark.parametrize("content", ["no program", None], ids=["file", "folder"])
def test_a_git_that_cannot_be_executed_is_no_failure(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "git").write_text(content) if content else (tmp_path / "git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_revision.__wrapped__() == ""


def test_the_revision_is_that_of_the_checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    assert len(provenance.git_revision().removesuffix("-dirty")) == 40


def test_prune_says_that_a_dry_run_needs_days_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--store", str(tmp_path), "prune", "--dry-run"])
    assert "required: DAYS" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="0"):
        main(["prune", "--help"])
    assert "DAYS must be given with --dry-run too" in " ".join(capsys.readouterr().out.split())


def test_an_empty_path_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for create in (True, False):
        with pytest.raises(InputError, match=r"^data.cache must be the path of a folder, got an empty text$"):
            Store("", create=create, setting="data.cache")
    assert not list(tmp_path.iterdir())

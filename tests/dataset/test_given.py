"""Members and non-members as users have them: every trap of folders and lists, and what is said of it."""

import codecs
import os
import shutil
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lpla.contracts.inputs import Images, InputError
from lpla.data.dataset import _files, _hashing
from lpla.data.dataset._tails import Tails
from lpla.data.dataset.given import Given

IN, OUT = 6, 4
MEMBERS = [f"train/cats/in {i}.png" for i in range(IN)]
NONMEMBERS = [f"test/out_{i}.jpg" for i in range(OUT)]
UNSEEN = ["extra/é.png", "extra/other.png"]
PATHS = [*MEMBERS, *NONMEMBERS, *UNSEEN]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures, PNG and JPEG, in three folders."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in [*PATHS, "nobody/asked.png"]:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    return root


@pytest.fixture
def load(pictures: Path, tmp_path: Path) -> Callable[..., Images]:
    """The data set of lists, each the text of a file, its bytes, or a path."""

    def make(members: object = None, nonmembers: object = None, unseen: object = None, **more: object) -> Images:
        lists = {"members": members or "\n".join(MEMBERS), "nonmembers": nonmembers or "\n".join(NONMEMBERS)}
        written = {}
        for name, content in (lists | ({"unseen": unseen} if unseen else {})).items():
            if not isinstance(content, Path):
                file = tmp_path / f"{name}.txt"
                file.write_bytes(content if isinstance(content, bytes) else str(content).encode())
                content = file
            written[name] = str(content)
        defaults = {"root": str(pictures), "cache": str(tmp_path / "cache"), "size": 8}
        return Given(**(defaults | written | more)).load()  # pyright: ignore[reportArgumentType]

    return make


def names(images: Images, one: str) -> list[str]:
    assert images.names is not None and images.lists is not None
    return sorted(name for name, side in zip(images.names, images.lists, strict=True) if side == one)


def lines(entries: list[str]) -> str:
    return "\n".join(entries)


def tree_of_another_machine(entries: list[str]) -> str:
    return lines([f"/home/somebody/pictures/{one}" for one in entries])


def renamed_above(entries: list[str]) -> str:
    # There the folder that is called train here had another name, and lay in others.
    return lines([one.replace("train/", "/mnt/disk/training-set/") for one in entries])


LISTS = {
    "plain": lines,
    "a mark of UTF-8": lambda e: codecs.BOM_UTF8 + lines(e).encode(),
    "UTF-16 of PowerShell": lambda e: lines(e).encode("utf-16"),
    "CRLF and blank lines": lambda e: "\r\n\r\n".join(e) + "\r\n",
    "backslashes": lambda e: lines([".\\" + one.replace("/", "\\") for one in e]),
    "a header": lambda e: lines(["filename", *e]),
    "blanks around": lambda e: lines([f"  {one}\t" for one in e]),
    "quoted": lambda e: lines([f'"{one}"' for one in e]),
    "a quoted CSV of several columns": lambda e: lines(
        ["number,path,label", *(f'{i},"{one}","a, ""b"""' for i, one in enumerate(e))]
    ),
    "semicolons": lambda e: lines(["label;path", *(f"cat;{one}" for one in e)]),
    "tabs without a header": lambda e: lines([f"{one}\t{i}" for i, one in enumerate(e)]),
    "another case": lambda e: lines([one.upper() for one in e]),
    "another machine": tree_of_another_machine,
    "another machine with drives": lambda e: lines(["D:\\data\\" + one.replace("/", "\\") for one in e]),
    "folders of other names": renamed_above,
    "names alone": lambda e: lines([one.rpartition("/")[2] for one in e]),
    "the order turned round": lambda e: lines(e[::-1]),
    "no end of line": lambda e: lines(e) + "\n",
}


@pytest.mark.parametrize("write", LISTS.values(), ids=LISTS)
def test_a_list_may_be_written_in_many_ways(load: Callable[..., Images], write: Callable) -> None:
    plain, found = load(), load(members=write(MEMBERS))
    assert names(found, "members") == MEMBERS and names(found, "nonmembers") == NONMEMBERS
    assert found.names == plain.names and found.digest == plain.digest
    assert found.left_out == ("below data.root and in no list: 3",)


def test_hashes_name_images_whatever_their_files_are_called(load: Callable[..., Images], pictures: Path) -> None:
    hashes = [sha256((pictures / name).read_bytes()).hexdigest() for name in MEMBERS]
    assert names(load(members=lines([one.upper() for one in hashes])), "members") == MEMBERS
    # As `sha256sum` writes them, of files that are elsewhere by now.
    table = lines([f"{one}  gone/{i}.png" for i, one in enumerate(hashes)])
    assert names(load(members=table), "members") == MEMBERS


def test_paths_with_blanks_before_a_label(load: Callable[..., Images]) -> None:
    assert names(load(nonmembers=lines([f"{one} 1" for one in NONMEMBERS])), "nonmembers") == NONMEMBERS


def test_an_accent_in_two_ways(load: Callable[..., Images]) -> None:
    assert names(load(unseen="extra/e\N{COMBINING ACUTE ACCENT}.png\nextra/other.png"), "unseen") == sorted(UNSEEN)


def test_parquet(load: Callable[..., Images], tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed; pip install 'lpla[parquet]'")
    from pyarrow import parquet  # pyright: ignore[reportMissingImports]

    table = pyarrow.table({"label": list(range(IN)), "note": ["x"] * IN, "path": MEMBERS})
    parquet.write_table(table, tmp_path / "list.parquet")
    assert names(load(members=tmp_path / "list.parquet"), "members") == MEMBERS
    parquet.write_table(table.slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(InputError, match=r"data.members must name images, got the empty list .*empty.parquet"):
        load(members=tmp_path / "empty.parquet")
    parquet.write_table(table.select(["label"]), tmp_path / "numbers.parquet")
    with pytest.raises(InputError, match=r"data.members must have a column of texts .*numbers.parquet has none"):
        load(members=tmp_path / "numbers.parquet")
    (tmp_path / "list.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match=r"data.members=.* is no parquet file that can be read"):
        load(members=tmp_path / "list.parquet")


def test_parquet_without_its_library(load: Callable[..., Images], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = r"data.members=.* needs the package pyarrow, which is not installed: pip install 'lpla\[parquet\]'"
    with pytest.raises(InputError, match=said):
        load(members=b"PAR1....PAR1")


def test_folders_and_lists_of_their_files_are_the_same_data(load: Callable[..., Images], pictures: Path) -> None:
    listed, folders = load(), load(members=pictures / "train", nonmembers=pictures / "test")
    assert folders.names == listed.names and folders.lists == listed.lists and folders.digest == listed.digest
    assert folders.left_out == ()
    assert load(members=pictures / "train").lists == listed.lists


def test_the_order_is_that_of_the_contents_and_stays_where_files_move(
    load: Callable[..., Images], pictures: Path, tmp_path: Path
) -> None:
    here = load()
    assert here.file_hashes is not None and here.names is not None
    assert list(here.file_hashes) == sorted(here.file_hashes)
    for name, found in zip(here.names, here.file_hashes, strict=True):
        assert found == sha256((pictures / name).read_bytes()).hexdigest()
    for one, folder in (("a", "train/cats"), ("z", "test")):
        (tmp_path / one).mkdir()
        for i, file in enumerate(sorted((pictures / folder).iterdir(), reverse=True)):
            shutil.copy(file, tmp_path / one / f"{i}{file.suffix}")
    there = load(members=tmp_path / "a", nonmembers=tmp_path / "z")
    assert there.digest == here.digest and there.lists == here.lists and there.file_hashes == here.file_hashes
    # They lie under other roots than data.root, and are so named that the root leads to them all the same.
    assert there.root is not None and there.names is not None
    assert all((there.root / name).is_file() and Path(name).is_absolute() for name in there.names)


def test_paths_of_this_machine_may_lie_under_several_roots(
    load: Callable[..., Images], pictures: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in NONMEMBERS:
        shutil.copy(pictures / name, moved)
    absolute = lines([str(pictures / name) for name in MEMBERS])
    found = load(members=absolute, nonmembers=lines([str(one) for one in moved.iterdir()]))
    assert names(found, "members") == MEMBERS
    assert names(found, "nonmembers") == sorted(str(one) for one in moved.iterdir())
    # No list asks for data.root, which may then be anything.
    nowhere = load(members=absolute, nonmembers=pictures / "test", root=str(tmp_path / "nowhere"))
    assert nowhere.digest == load().digest


def test_classes_if_so_wished(load: Callable[..., Images], pictures: Path) -> None:
    assert (load().labels == -1).all()
    by_folder = {name: int(label) for name, label in _labelled(load(class_level=1)).items()}
    assert {by_folder[one] for one in MEMBERS} == {1} and {by_folder[one] for one in NONMEMBERS} == {0}
    second = _labelled(load(members=pictures / "train", class_level=1))
    assert {second[one] for one in MEMBERS} == {0}  # Below the folder of members, the classes of which are its own.


def _labelled(images: Images) -> dict[str, int]:
    assert images.names is not None
    return dict(zip(images.names, images.labels.tolist(), strict=True))


def test_every_kind_becomes_red_green_and_blue_of_one_size(load: Callable[..., Images], tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    kinds = {"grey": ((40, 32), np.uint8), "clear": ((600, 518, 4), np.uint8), "deep": ((50, 50), np.uint16)}
    for name, (shape, kind) in kinds.items():
        (tmp_path / "kinds").mkdir(exist_ok=True)
        pixels = random.integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
        Image.fromarray(pixels).save(tmp_path / "kinds" / f"{name}.png")
    found = load(members=tmp_path / "kinds", size=32)
    assert found.pixels.shape == (3 + OUT, 3, 32, 32) and len(names(found, "members")) == 3


def test_images_are_mapped_and_read_once(load: Callable[..., Images], monkeypatch: pytest.MonkeyPatch) -> None:
    first = load()
    monkeypatch.setattr(_files, "decode", lambda *_, **__: pytest.fail("decoded again"))
    monkeypatch.setattr(_hashing, "_hash", lambda *_, **__: pytest.fail("hashed again"))
    # Who is a member is no part of what is decoded.
    second = load(members=lines(NONMEMBERS), nonmembers=lines(MEMBERS))
    assert torch.equal(first.pixels, second.pixels) and first.digest == second.digest
    assert names(second, "members") == NONMEMBERS


def test_a_changed_file_is_another_image(load: Callable[..., Images], pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(pictures, root)
    before = load(root=str(root))
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(root / MEMBERS[0])
    os.utime(root / MEMBERS[0], ns=(1, 1))
    after = load(root=str(root))
    assert before.file_hashes is not None and after.file_hashes is not None
    assert after.digest != before.digest and len({*after.file_hashes} - {*before.file_hashes}) == 1


def test_what_is_left_out_is_named_and_counted(load: Callable[..., Images]) -> None:
    both = [*MEMBERS, MEMBERS[1], NONMEMBERS[0], UNSEEN[0]]
    found = load(members=lines(both), unseen=lines(UNSEEN))
    assert names(found, "members") == MEMBERS and names(found, "nonmembers") == NONMEMBERS[1:]
    assert names(found, "unseen") == UNSEEN[1:]
    assert found.left_out == (
        "named again in data.members: 1 (train/cats/in 1.png)",
        "in more than one list: 2 (extra/é.png, test/out_0.jpg)",
        "below data.root and in no list: 1",
    )
    assert f"({IN} members, {OUT - 1} nonmembers, 1 unseen)" in found.summary


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 files of one small picture each, in two folders."""
    root = tmp_path_factory.mktemp("many")
    for i in range(200):
        file = root / f"{'cats' if i < 100 else 'dogs'}/{i:03}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((2, 2), i, dtype=np.uint8)).save(file)
    return root


def test_one_in_a_hundred_may_be_unmatched_and_no_more(load: Callable[..., Images], many: Path) -> None:
    cats = [f"cats/{i:03}.png" for i in range(100)]
    dogs = many / "dogs"
    found = load(members=lines([*cats[:99], "cats/gone.png"]), nonmembers=dogs, root=str(many))
    assert found.left_out[0] == "unmatched in data.members: 1 (cats/gone.png)" and len(names(found, "members")) == 99
    wrong = lines([*cats[:98], "cats/gone.png", "cats/lost.png"])
    sentence = r"data.members=.* 2 of 100 entries name no image below data.root=.*: cats/gone.png, cats/lost.png; set"
    with pytest.raises(InputError, match=sentence):
        load(members=wrong, nonmembers=dogs, root=str(many))
    most = lines([*cats[:40], *(f"x/{i}.png" for i in range(60))])
    with pytest.raises(InputError, match=r"60 of 100 entries .*: x/0.png, x/1.png, .*x/4.png and 55 more; set data"):
        load(members=most, nonmembers=dogs, root=str(many))


def test_a_file_that_is_gone_is_not_found_in_another_folder(load: Callable[..., Images], many: Path) -> None:
    # 150.png is there, but among the dogs: a path that shares the name alone is no match where others match whole.
    entries = [f"cats/{i:03}.png" for i in range(100)] + ["cats/150.png"]
    found = load(members=lines(entries), nonmembers=lines(["dogs/160.png", "dogs/161.png"]), root=str(many))
    assert found.left_out[0] == "unmatched in data.members: 1 (cats/150.png)"
    # Nor where a list's folders were renamed, as all of them must then have been renamed alike.
    renamed = lines([*(f"/old/{i:03}.png" for i in range(100)), "/other/150.png"])
    found = load(members=renamed, nonmembers=lines(["dogs/160.png", "dogs/161.png"]), root=str(many))
    assert found.left_out[0] == "unmatched in data.members: 1 (/other/150.png)"


def test_ends_that_several_files_share_are_refused(load: Callable[..., Images], pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(pictures, root)
    shutil.copytree(root / "train" / "cats", root / "train" / "dogs")
    for before, others, count in (("", MEMBERS[1:], 1), ("/home/somebody/", ["/home/somebody/in 1.png"], 2)):
        entry = f"{before}in 0.png"
        sentence = (
            rf"data.members=.* {count} of {len(others) + 1} entries may be any of several files below data.root=.*: "
            rf"{entry} \(train/cats/in 0.png, train/dogs/in 0.png\).*; write as much of each path"
        )
        with pytest.raises(InputError, match=sentence):
            load(members=lines([entry, *others]), root=str(root))
    # A file whose whole path is that end is meant by it; so is the one in which the case of letters is the same.
    shutil.copy(root / "train/cats/in 0.png", root / "in 0.png")
    found = load(members=lines(["in 0.png", *MEMBERS[1:]]), root=str(root))
    assert "in 0.png" in names(found, "members")
    shutil.copy(root / "train/cats/in 1.png", root / "train/cats/IN 1.png")
    found = load(members=lines(["train/cats/IN 1.png", *MEMBERS[2:]]), root=str(root))
    assert "train/cats/IN 1.png" in names(found, "members") and MEMBERS[1] not in names(found, "members")


@given(st.lists(st.lists(st.sampled_from("ab cA"), min_size=1, max_size=4), min_size=1, max_size=12), st.data())
@settings(max_examples=200, deadline=None)
def test_the_longest_end_is_found_as_by_looking_at_all(files: list[list[str]], data: st.DataObject) -> None:
    paths = sorted({"/".join(parts) for parts in files})
    entry = "/".join(data.draw(st.lists(st.sampled_from("ab cA"), min_size=1, max_size=5)))

    def shared(path: str) -> int:
        ends = list(zip(path.lower().split("/")[::-1], entry.lower().split("/")[::-1], strict=False))
        return next((i for i, (one, two) in enumerate(ends) if one != two), len(ends))

    longest = max(map(shared, paths))
    slow = [path for path in paths if shared(path) == longest] if longest else []
    slow = [path for path in slow if path.count("/") + 1 == longest] or slow
    same = [path for path in slow if path.split("/")[-longest:] == entry.split("/")[-longest:]]
    assert sorted(Tails(paths).find(entry).names) == (slow if len(slow) < 2 else same or slow)


REFUSED = [
    ({"members": b"\n \r\n"}, r"data.members must name images, got the empty list .*members.txt"),
    ({"members": b"\x89PNG\0\0"}, r"data.members must be a folder of images or a list .*, got .*members.txt, which is"),
    ({"members": b"caf\xe9.png\n"}, r"data.members must be .* in UTF-8, got .*, whose byte 3 is not"),
    ({"members": Path("nowhere")}, r"data.members must be a folder of images or a list .*nowhere does not exist$"),
    ({"members": Path("train")}, r"data.members must be .*train does not exist; did you mean .*/train\?"),
    ({"unseen": Path(os.devnull)}, r"data.unseen must be .* is neither of them"),
    ({"members": lines(NONMEMBERS)}, rf"all {OUT} images of data.members stand in data.nonmembers as well: an image"),
    ({"unseen": lines(NONMEMBERS)}, rf"all {OUT} images of data.nonmembers stand in data.members or data.unseen as"),
    ({"root": "nowhere"}, r"6 of 6 entries name no image below data.root=.*nowhere, which is no folder: train/cats/in"),
    ({"members": "filename\n"}, r"data.members=.*: 1 of 1 entries name no image .*: filename; set"),
    ({"size": 0}, r"dataset.size must be an integer from 1 to 1000000, got 0"),
    ({"on_bad_image": "skipp"}, r"dataset.on_bad_image must be error or skip, got 'skipp'"),
]


@pytest.mark.parametrize(("lists", "sentence"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_no_list_is_one_sentence(load: Callable[..., Images], lists: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        load(**lists)
    assert "\n" not in str(refused.value)


def test_folders_of_nothing(load: Callable[..., Images], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("no image")
    with pytest.raises(InputError, match=r"data.members must name images, but the folder .* has none beside files .t"):
        load(members=tmp_path / "empty")
    with pytest.raises(InputError, match=r"dataset=given needs data.members and data.nonmembers"):
        Given(members=str(tmp_path)).load()


def test_unreadable_images_end_the_job_or_are_named(
    load: Callable[..., Images], pictures: Path, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(pictures, root)
    (root / MEMBERS[0]).write_bytes(b"no image")
    (root / "train" / "dangling.png").symlink_to("nowhere")
    lists = {"members": root / "train", "root": str(root)}
    with pytest.raises(InputError, match=r"2 of 11 images in .* cannot be used: train/dangling.png .*in 0.png"):
        load(**lists)
    found = load(**lists, on_bad_image="skip")
    assert found.left_out[0] == f"unreadable: 2 (train/dangling.png, {MEMBERS[0]})"
    assert names(found, "members") == MEMBERS[1:]

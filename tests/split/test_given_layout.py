"""The user's own layout: its rows, near-duplicates across the lists, sizes, and the whole audit through the command."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_audit import TINY, Ran, scores_of

from lpla.auditing.plan import Plan
from lpla.contracts.inputs import Images, InputError
from lpla.data.dataset.digits import Digits
from lpla.data.memberships import memberships, write_memberships
from lpla.data.split.balanced import Balanced
from lpla.data.split.disjoint import Disjoint
from lpla.data.split.given import Given

SPLIT = Given()
SIDES = ("members", "nonmembers", "unseen")


def images(lists: list, pixels: np.ndarray | None = None) -> Images:
    """Noise, unless told: no two of them are alike."""
    noise = np.random.default_rng(0).integers(0, 256, (len(lists), 1, 8, 8), dtype=np.uint8)
    found = torch.from_numpy(noise if pixels is None else pixels)
    names, hashes = [f"{i}.png" for i in range(len(lists))], [f"{i:064x}" for i in range(len(lists))]
    labels = torch.zeros(len(lists), dtype=torch.long)
    return Images("test", found, labels, names=names, lists=lists, file_hashes=hashes)


sizes = st.tuples(st.integers(2, 40), st.integers(2, 40), st.integers(0, 9), st.integers(1, 5), st.integers(0, 2**31))


@given(sizes, st.none() | st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_the_targets_row_is_the_lists_and_shadows_are_pairs(size: tuple, members: int | None) -> None:
    inside, outside, unseen, pairs, seed = size
    lists = ["members"] * inside + ["nonmembers"] * outside + ["unseen"] * unseen
    data = images(lists)
    if members is not None and members > min(inside, outside):
        with pytest.raises(InputError, match=rf"at most {min(inside, outside)}: the lists have {inside} members and"):
            SPLIT.draw(data, members, 2 * pairs, seed)
        return
    drawn = SPLIT.draw(data, members, 2 * pairs, seed)
    side = np.array(lists)[drawn.index]
    assert np.array_equal(drawn.inside[0], side == "members") and set(side) == {"members", "nonmembers"}
    counts = (inside, outside) if members is None else (members, members)
    assert (drawn.inside[0].sum(), (~drawn.inside[0]).sum()) == counts
    assert drawn.candidates.all() and len(np.unique(drawn.index)) == sum(counts)
    assert (drawn.inside[1::2] ^ drawn.inside[2::2]).all()
    assert set(drawn.inside[1:].sum(axis=1)) <= {sum(counts) // 2, sum(counts) - sum(counts) // 2}
    assert np.array_equal(drawn.unseen, np.flatnonzero(np.array(lists) == "unseen"))
    assert len(drawn.aside) == 0 and drawn.duplicate_groups == 0
    more = SPLIT.draw(data, members, 2 * pairs + 2, seed)
    assert np.array_equal(more.inside[: 2 * pairs + 1], drawn.inside) and np.array_equal(more.index, drawn.index)


def test_the_shadows_are_independent_of_the_lists() -> None:
    data = images(["members"] * 20 + ["nonmembers"] * 20)
    drawn = [SPLIT.draw(data, None, 2, seed).inside for seed in range(400)]
    agreement = np.mean([(rows[0] == rows[1]).mean() for rows in drawn])
    # 400 draws of 40 exchangeable images: the standard error of the mean agreement is below .004.
    assert abs(agreement - 0.5) < 0.016
    # Nor does the place in the pool tell the sides apart.
    places = [np.flatnonzero(rows[0]).mean() for rows in drawn]
    assert abs(np.mean(places) - 19.5) < 0.4


def test_fewer_of_each_side_are_drawn_anew_by_the_seed() -> None:
    data = images(["members"] * 30 + ["nonmembers"] * 50)
    one, same, other = (SPLIT.draw(data, 10, 2, seed) for seed in (1, 1, 2))
    assert np.array_equal(one.index, same.index) and set(one.index) != set(other.index)
    # Those that were not drawn may well be members: nobody takes them for images outside.
    assert len(one.unseen) == 0 and len(one.aside) == 0


def alike() -> Images:
    """Three groups of copies (two sides; one side; a member and unseen images) among images without a copy."""
    lists = ["members"] * 10 + ["nonmembers"] * 10 + ["unseen"] * 6
    pixels = np.random.default_rng(1).integers(0, 256, (26, 3, 32, 32), dtype=np.uint8)
    pixels[[1, 10, 20]] = pixels[0]  # members 0 and 1, non-member 10, unseen 20
    pixels[12] = pixels[11]
    pixels[[21, 22]] = pixels[2]
    return images(lists, pixels)


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_across_the_lists_are_set_aside_and_named(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    drawn = SPLIT.draw(alike(), None, 2, seed)
    assert not np.isin([0, 1, 10], drawn.index).any()
    assert np.isin([11, 12], drawn.index).sum() == 1 and 2 in drawn.index
    assert drawn.unseen.tolist() == [23, 24, 25]
    assert {0, 1, 10, 20, 21, 22} < set(drawn.aside.tolist()) and len(drawn.aside) == 7
    assert drawn.duplicate_groups == 3 and drawn.mixed_groups == 1
    assert len(drawn.index) + len(drawn.aside) + len(drawn.unseen) == 26
    named = "2 groups of near-duplicates across lists: 0.png (members) ~ 1.png (members) ~ 10.png (nonmembers) ~ 20.png"
    assert named in caplog.text and "2.png (members) ~ 21.png (unseen) ~ 22.png (unseen)" in caplog.text


def test_lists_of_the_same_images_are_refused_as_such() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    twice = images(["members"] * 10 + ["nonmembers"] * 10, np.concatenate([pixels, pixels]))
    said = "^data.members and data.nonmembers must .*, but every image, 20 in all, stands on both sides, alike or .*$"
    with pytest.raises(InputError, match=said):
        SPLIT.draw(twice, None, 2, 0)


def test_near_duplicates_stay_if_so_wished() -> None:
    drawn = Given(near_duplicates="ignore").draw(alike(), None, 2, 0)
    assert len(drawn.index) == 20 and len(drawn.unseen) == 6 and len(drawn.aside) == 0
    assert drawn.duplicate_groups is None and drawn.mixed_groups == 0


def test_bad_settings() -> None:
    with pytest.raises(InputError, match=r"split=given needs lists of members \(dataset=given\), got dataset=digits"):
        SPLIT.draw(Digits().load(), 10, 2, 0)
    with pytest.raises(InputError, match="shadows must be an even number >= 2 in split=given"):
        SPLIT.draw(images(["members"] * 5 + ["nonmembers"] * 5), None, 3, 0)
    copies = np.repeat(np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), dtype=np.uint8), 2, axis=0)
    lists = ["members", "nonmembers"] * 4 + ["members", "members"]
    with pytest.raises(
        InputError, match=r"no near-duplicates of others; the lists have 1 members and 0 non-members; 8 images"
    ):
        SPLIT.draw(images(lists, copies), None, 2, 0)
    for split in (Balanced(), Disjoint()):
        with pytest.raises(InputError, match="dataset=test says who is a member, so that split must be given"):
            split.draw(images(["members"] * 9 + ["nonmembers"] * 9), 2, 2, 0)
        with pytest.raises(
            InputError, match=r"members must be at least 2 and .*, got null, by which split=given alone"
        ):
            split.draw(Digits().load(), None, 2, 0)


def test_memberships_come_back_by_content(tmp_path: Path) -> None:
    data = images(["members"] * 3 + ["nonmembers"] * 2 + ["unseen"])
    rows = {"shadow 1": np.array([1, 0, 1, 0, 1, 0], dtype=bool), "shadow,2": np.array([0, 1, 0, 1, 0, 0], dtype=bool)}
    file = tmp_path / "memberships.csv"
    write_memberships(file, data, rows)
    assert (file.stat().st_mode & 0o777) == 0o600
    order = [5, 3, 1, 0, 2, 4]
    assert data.file_hashes is not None and data.lists is not None
    # Other names, another order: the same contents.
    moved = Images("test", data.pixels[order], data.labels, names=[f"moved/{i}" for i in order],
                   lists=[data.lists[i] for i in order], file_hashes=[data.file_hashes[i] for i in order])  # fmt: skip
    found = memberships(file, moved)
    assert list(found) == list(rows)
    assert all(np.array_equal(found[name], row[order]) for name, row in rows.items())
    table = list(csv.reader(file.read_text().splitlines()))
    by_name = tmp_path / "names.csv"
    by_name.write_bytes(
        b"\xef\xbb\xbf" + "\r\n".join(f"{r[0]},{r[2]}" for r in table[:-1]).encode()
    )  # without the unseen
    assert np.array_equal(memberships(by_name, data)["shadow 1"], rows["shadow 1"])


def test_memberships_of_equal_files(tmp_path: Path) -> None:
    data = images(["members"] * 4)
    equal = Images("test", data.pixels, data.labels, names=data.names, lists=data.lists, file_hashes=["a" * 64] * 4)
    row = np.array([1, 0, 0, 1], dtype=bool)
    write_memberships(tmp_path / "m.csv", equal, {"one": row})
    assert np.array_equal(memberships(tmp_path / "m.csv", equal)["one"], row)


MISFITS = [
    (
        lambda t: t.replace(f"{1:064x}", "f" * 64),
        r"m.csv has 1 rows of files that are gone or changed: 1.png; the table",
    ),
    (lambda t: t.replace(f"2.png,{2:064x},0\n", ""), r"m.csv has no row for 1 images: 2.png; the table is about files"),
    (lambda t: t + f"0.png,{0:064x},1\n", r"m.csv must have one row for each image, got two for 0.png"),
    (lambda t: t.replace(",0\n", ",no\n", 1), r"m.csv, line 3, column one must be 0 or 1, got 'no'"),
    (lambda t: t.replace(",0\n", "\n", 1), r"m.csv, line 3, column one must be 0 or 1, got ''"),
    (
        lambda t: t.replace("file,sha256", "path,hash"),
        r"must have a column sha256 or file and a column for .* path, hash",
    ),
    (lambda t: t.replace("sha256,one", "one,one"), r"must have a name of its own for each column, got file, one, one"),
    (lambda t: "", r"must have a column sha256 or file and a column for each encoder, got the columns $"),
]


@pytest.mark.parametrize(("change", "sentence"), MISFITS)
def test_memberships_that_do_not_fit_their_files_are_refused(
    tmp_path: Path, change: Callable[[str], str], sentence: str
) -> None:
    data, file = images(["members"] * 2 + ["nonmembers"]), tmp_path / "m.csv"
    write_memberships(file, data, {"one": np.array([1, 0, 0], dtype=bool)})
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError, match=sentence):
        memberships(file, data)
    with pytest.raises(InputError, match=r"m.csv is about files, which the images of dataset=digits are not"):
        memberships(file, Digits().load())
    with pytest.raises(InputError, match=r"gone.csv must be a CSV of memberships, but cannot be read"):
        memberships(tmp_path / "gone.csv", data)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 members, 30 non-members and 8 unseen images, PNGs and JPEGs, and a copy of a member among the non-members."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for one, count in (("in", 24), ("out", 30), ("more", 8)):
        (root / one).mkdir()
        for i in range(count):
            image = Image.fromarray(random.integers(0, 256, (10, 10, 3), dtype=np.uint8))
            image.save(root / one / f"{i:02}.{'jpg' if i % 2 else 'png'}")
    shutil.copy(root / "in" / "00.png", root / "out" / "copy of 00.png")
    return root


def lines(root: Path, folder: str) -> str:
    return "\n".join(f"/elsewhere/{folder}/{file.name}" for file in sorted((root / folder).iterdir(), reverse=True))


@pytest.mark.slow
@pytest.mark.parallel
def test_the_audit_of_two_folders_and_of_two_lists(cli: Callable[..., Ran], folders: Path, tmp_path: Path) -> None:
    settings = [*TINY, "dataset=given", "dataset.size=8", "members=null", "shadows=2", "backbone.width=0.25"]
    settings += [f"data.unseen={folders / 'more'}", "report.names=true"]
    one = cli(*settings, f"data.members={folders / 'in'}", f"data.nonmembers={folders / 'out'}")
    assert one.code == 0, one.err
    assert "groups of near-duplicates across lists: " in one.out and "copy of 00.png (nonmembers)" in one.out
    rows = json.loads((one.folder / "result.json").read_text())
    assert {(row["members"], row["nonmembers"], row["split"]) for row in rows} == {(23, 30, "given")}
    assert {(row["duplicate_groups"], row["duplicates_aside"]) for row in rows} == {(1, 2)}
    assert any("but for 1 with members and non-members, of which none was" in note for note in rows[0]["notes"])
    assert any(
        "shadows are trained on 26 to 27 images each, the target on 23: members=23" in n for n in rows[0]["notes"]
    )
    for side in ("in", "out"):
        (tmp_path / f"{side}.csv").write_text(f"file\r\n{lines(folders, side)}\r\n")
    lists = [f"data.members={tmp_path / 'in.csv'}", f"data.nonmembers={tmp_path / 'out.csv'}", f"data.root={folders}"]
    other = cli(*settings, *lists)
    assert other.code == 0, other.err
    # The same images in the same order: the store has everything.
    assert "trained and observed" in one.out and "trained and observed" not in other.out
    found = [scores_of(job.folder) for job in (one, other)]
    for name in ("index", "member", "score", "posterior"):
        assert np.array_equal(found[0][name], found[1][name], equal_nan=True), name
    # A score leads to a file, and its membership is that of the folder in which it lies.
    with (other.folder / "images.csv").open(newline="") as file:
        named = [row["file"] for row in csv.DictReader(file)]
    assert np.array_equal([name.startswith("in/") for name in named], found[1]["member"])


def test_a_user_who_gives_too_little_is_told(tiny: Callable[..., Plan], folders: Path, tmp_path: Path) -> None:
    lists = [f"data.members={folders / 'in'}", f"data.nonmembers={folders / 'out'}", f"data.cache={tmp_path / 'cache'}"]

    def told(*arguments: str) -> str:
        with pytest.raises(InputError) as refused:
            tiny(*arguments)
        return str(refused.value)

    assert told(*lists) == "data.members is read by dataset=given alone, got another data set"
    assert "dataset=given needs data.members and data.nonmembers" in told("dataset=given", *lists[:1])
    assert "split must be given" in told("dataset=given", "split=balanced", *lists)
    assert "split=given needs lists of members" in told("split=given")
    assert "by which split=given alone takes all" in told("members=null")
    few = told("dataset=given", "members=25", *lists)
    one = images(["members", *["nonmembers"] * 3])
    with pytest.raises(InputError, match=r"needs at least 2 members .*; the lists have 1 members and 3 non-members$"):
        SPLIT.draw(one, None, 2, 0)
    assert "members must be null, or at least 2 and at most 23: the lists have 23 members and 30 non-members" in few
    small = told("dataset=given", "members=null", "train.batch_size=24", *lists)
    most = "train.batch_size must be at most the members of every encoder, of which one has 23, got 24"
    assert small == f"{most}: set both, such as members=23 train.batch_size=23"

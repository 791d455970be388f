"""A table of embeddings in an encoder's place: views are planned, answered by anything, audited as the encoder is."""

import csv
import io
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_audit import TINY_GIVEN, Silent, scores_of

from lpla.auditing import job
from lpla.auditing.commands import run_command
from lpla.auditing.plan import plan
from lpla.auditing.sent_views import _as_asked
from lpla.auditing.settings import composed
from lpla.auditing.shadows import plan as plan_shadows
from lpla.auditing.views import plan as plan_views
from lpla.contracts.inputs import InputError
from lpla.encoders.target._answers import in_order_of_ids, read_answers
from lpla.encoders.target._planned import PlannedViews
from lpla.encoders.target.embeddings import Embeddings, TableEncoder
from lpla.store.artifacts import Store, key_of
from lpla.work.given import Given
from lpla.work.planned import REPEATED, write_views
from lpla.work.unit import make

SETTINGS = [*TINY_GIVEN, "dataset=digits", "split=balanced", "members=20"]
WEIGHTS = torch.randn(64, 16, generator=torch.Generator().manual_seed(3))


def encode(x: torch.Tensor) -> torch.Tensor:
    """An encoder: what target=python calls, and what answers the files."""
    return torch.relu(x.flatten(1) @ WEIGHTS)


def answer(pixels: np.ndarray) -> np.ndarray:
    """What a user's own program makes of the 8-bit values [V, H, W, C]."""
    return encode(torch.from_numpy(pixels.astype(np.float32) / 255)).numpy()


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planned") / "views"
    said = plan_views(folder, SETTINGS)
    assert said[0].startswith(f"{folder}: ") and f"target.views={folder}" in said[-1] and "members=20" in said[-1]
    return folder


@pytest.fixture(scope="module")
def table(planned: Path) -> Path:
    file = planned.parent / "answers.npy"
    np.save(file, answer(np.load(planned / "views.npy")))
    return file


def audit(folder: Path, *told: str) -> tuple[Any, dict[str, np.ndarray]]:
    folder.mkdir()
    rows = job.audit(composed([*SETTINGS, f"store={folder / 'store'}", *told]), folder)
    return rows, scores_of(folder)


def of_table(planned: Path, file: Path) -> list[str]:
    return ["target=embeddings", f"target.views={planned}", f"target.file={file}"]


def test_the_views_are_the_audits_own_in_8_bits_as_files_and_as_an_array(planned: Path) -> None:
    found, array = PlannedViews.load(planned), np.load(planned / "views.npy")
    assert array.shape == (len(found.digests), 8, 8, 1) and array.dtype == np.uint8
    files = sorted((planned / "png").iterdir())
    assert [file.stem for file in files] == [f"{i:07d}" for i in found.ids]
    for file, pixels, digest in zip(files, array, found.digests, strict=True):
        data = file.read_bytes()
        assert sha256(data).hexdigest() == digest
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(data))), pixels[..., 0])
    asked = {(i, v) for r in plan(composed([*SETTINGS, "observe.eight_bit=true", *PYTHON])).units[0].observations
             for i in r.index for v in range(r.query.queries)}  # fmt: skip
    rows = list(zip(found.images, found.views, strict=True))
    assert set(rows) == asked and len(rows) == len(asked) + REPEATED
    assert np.mean(np.diff(found.images) == 0) < 0.1, "neighbours are of any image"


PYTHON = ["target=python", "target.call=test_tables:encode", "target.channels=1", "target.side=8"]


def test_the_audit_of_a_table_is_the_audit_of_the_encoder_that_made_it(
    planned: Path, table: Path, tmp_path: Path
) -> None:
    rows, found = audit(tmp_path / "table", *of_table(planned, table))
    others, same = audit(tmp_path / "encoder", *PYTHON, "observe.eight_bit=true")
    np.testing.assert_array_equal(found["index"], same["index"])
    np.testing.assert_allclose(found["score"], same["score"], rtol=1e-5, atol=1e-5)
    assert np.ptp(found["score"]) > 0
    for row, other in zip(rows, others, strict=True):
        assert row.null_sent_views == 0 and row.null_untrained_auc is not None
        assert (row.auc, row.knn_accuracy) == pytest.approx((other.auc, other.knn_accuracy), abs=1e-6)
        assert row.null_parity_auc == other.null_parity_auc and row.blind_auc == other.blind_auc
        assert "answers.npy, SHA-256 " in row.given and "read by target=embeddings" in row.given
        assert "answers of 16 numbers to" in row.given and "a ResNet of ours" in row.given


def test_keys_hold_the_table_and_the_views_and_no_path(planned: Path, table: Path, tmp_path: Path) -> None:
    def parts(*told: str) -> Any:
        return plan(composed([*SETTINGS, *of_table(planned, table), *told])).units[0].encoder_parts

    before = parts()
    assert before["target"]["sha256"] == sha256(table.read_bytes()).hexdigest()
    copied = tmp_path / "other.npy"
    copied.write_bytes(table.read_bytes())
    assert parts(f"target.file={copied}") == before
    np.save(copied, 2 * np.load(table))
    assert parts(f"target.file={copied}") != before


def test_every_encoder_of_an_audit_is_given_views_of_8_bits(planned: Path, table: Path) -> None:
    work = plan(composed([*SETTINGS, *of_table(planned, table)]))
    for subject in (work.encoders.target, *work.encoders.nulls):
        assert all(request.query.eight_bit for request in subject.unit.observations)
    assert isinstance(work.units[0].source, Given) and not work.units[0].source.can_be_rebuilt
    assert not plan(composed([*SETTINGS, *PYTHON])).full_query.eight_bit


def test_an_audit_that_asks_for_other_views_is_refused_with_what_was_planned(
    planned: Path, table: Path, tmp_path: Path
) -> None:
    must = r"target\.views=.* must have all views of this audit, but \d+ of \d+ are not there: plan and audit with"
    with pytest.raises(InputError, match=must) as refused:
        audit(tmp_path / "job", *of_table(planned, table), "seed=1")
    assert "members=20" in str(refused.value)


def with_ids(order: np.ndarray, values: np.ndarray, write: Callable[[Any], str] = str) -> str:
    rows = [["id", *(f"e{d}" for d in range(values.shape[1]))]]
    rows += [[write(i), *map(repr, map(float, values[i]))] for i in order]
    held = io.StringIO()
    csv.writer(held).writerows(rows)
    return held.getvalue()


VALUES = np.arange(12, dtype=np.float32).reshape(4, 3) ** 1.5


@pytest.mark.parametrize("write", [str, "{:07d}.png".format, "views/png/{:07d}.png".format, "{}.0".format])
def test_a_csv_comes_back_by_id_in_any_order_and_by_the_files_names(
    write: Callable[[Any], str], tmp_path: Path
) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("\ufeff" + with_ids(np.array([2, 0, 3, 1]), VALUES, write), encoding="utf-8")
    np.testing.assert_array_equal(in_order_of_ids(read_answers(file), range(4), file.name), VALUES)


def test_arrays_come_back_by_id_or_in_the_order_of_the_ids(tmp_path: Path) -> None:
    for name, held in {
        "ids.npz": {"id": np.array([3, 2, 1, 0]), "embedding": VALUES[::-1].astype(np.float16).astype(np.float64)},
        "text.npz": {"id": np.array(["0000003.png", "2", "1", "0"]), "embedding": VALUES[::-1]},
        "plain.npz": {"anything": VALUES},
    }.items():
        np.savez(tmp_path / name, **held)  # pyright: ignore[reportArgumentType]
        found = in_order_of_ids(read_answers(tmp_path / name), range(4), name)
        np.testing.assert_allclose(found, VALUES, rtol=1e-3)
        assert found.dtype == np.float32
    np.save(tmp_path / "plain.npy", VALUES.astype(int))
    np.testing.assert_array_equal(read_answers(tmp_path / "plain.npy").values, VALUES.astype(int))


def test_a_parquet_file_comes_back_by_id(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed; pip install 'lpla[parquet]'")
    from pyarrow import parquet  # pyright: ignore[reportMissingImports]

    file = tmp_path / "answers.parquet"
    for columns in (
        {"id": [1, 0, 2, 3], "embedding": VALUES[[1, 0, 2, 3]].tolist()},
        {"id": ["1", "0", "2", "3"]} | {f"e{d}": VALUES[[1, 0, 2, 3], d] for d in range(3)},
    ):
        parquet.write_table(pyarrow.table(columns), file)
        np.testing.assert_array_equal(in_order_of_ids(read_answers(file), range(4), file.name), VALUES)


def ids_of(*ids: int) -> dict[str, Any]:
    return {"id": np.array(ids), "embedding": np.ones((len(ids), 3))}


@pytest.mark.parametrize(("held", "said"), [
    (ids_of(0, 1, 3), "must have one row for each of the 4 planned views, but misses the ids 2"),
    (ids_of(0, 1, 2, 3, 3), "but has several rows for the ids 3"),
    (ids_of(0, 1, 3, 3), "but misses the ids 2, and has several rows for the ids 3"),
    (ids_of(0, 1, 2, 3, 4), "but has rows for ids that were not planned, 4"),
    ({"id": np.array([0, 1, 2, np.nan]), "embedding": np.ones((4, 3))}, "a planned id, or its file's name, got nan"),
    ({"id": np.array([0, 1, 2.5, 3]), "embedding": np.ones((4, 3))}, "a planned id, or its file's name, got 2.5"),
    ({"id": np.array(["9" * 30] * 4), "embedding": np.ones((4, 3))}, "a planned id, or its file's name, got 9999"),
    ({"id": np.array(3), "embedding": np.ones((4, 3))}, "must have an id for each row, got 1 for 4 rows"),
    ({"embedding": np.ones((3, 3))}, "in the order of the ids, got 3 rows"),
    ({"id": np.arange(3), "embedding": np.ones((4, 3))}, "must have an id for each row, got 3 for 4 rows"),
    ({"id": np.array(["x"] * 4), "embedding": np.ones((4, 3))}, "must have in its column id a planned id, or its"),
    ({"embedding": np.ones(4)}, r"must be an array [views, width of 2 or more] of real numbers, got float64 [4]"),
    ({"embedding": np.ones((4, 1))}, "got float64 [4, 1]"),
    ({"embedding": np.ones((4, 2), complex)}, "got complex128 [4, 2]"),
    ({"one": VALUES, "other": VALUES}, "must hold the arrays id and embedding, got beside id one, other"),
    ({"embedding": np.array([object()] * 4)}, "but holds pickled Python objects, which are not read"),
])  # fmt: skip
def test_a_table_that_does_not_fit_is_refused_in_a_sentence(held: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.npz"
    np.savez(file, **held)
    with pytest.raises(InputError) as refused:
        in_order_of_ids(read_answers(file), range(4), file.name)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("content", "said"), [
    (b"", "with a column id, got the columns of an empty file"),
    (b"a,b\n1,2\n", "with a column id, got the columns a, b"),
    (b"id,a,b\n0,1,x\n", "of numbers alone beside id, but could not convert string 'x'"),
    (b"id,a,b\n0,1,2\n1,1\n", "of numbers alone beside id, but"),
    (b"id,a,\xff\n", "but byte 5 is not UTF-8"),
    (b"\x80\x04K\x01.", "holds pickled Python objects, which are not read"),
    (b"\x93NUMPY\x01", "cannot be read as an array"),
    (b"PK\x03\x04", "cannot be read as an array"),
])  # fmt: skip
def test_a_file_that_is_no_table_is_refused_in_a_sentence(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "answers").write_bytes(content)
    with pytest.raises(InputError) as refused:
        read_answers(tmp_path / "answers")
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "answers.zip", "w") as archive:
        archive.writestr("answers.csv", "id,a,b")
    with pytest.raises(InputError, match="must be an archive of arrays, as numpy writes it"):
        read_answers(tmp_path / "answers.zip")


def test_an_array_of_objects_is_refused_and_nothing_of_it_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> Any:
            return (ran.touch, ())

    np.save(tmp_path / "answers.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="holds pickled Python objects, which are not read"):
        read_answers(tmp_path / "answers.npy")
    assert not ran.exists()


def spoilt(planned: Path, table: Path, change: Callable[[np.ndarray], Any], place: Path) -> Embeddings:
    values = np.load(table)
    changed = change(values)
    np.save(place, values if changed is None else changed)
    return Embeddings(file=str(place), views=str(planned))


def shuffled(values: np.ndarray) -> np.ndarray:
    return values[np.random.default_rng(0).permutation(len(values))]


def batch_normed(values: np.ndarray) -> np.ndarray:
    """As of a network left in training mode, which sees batches of 8 in the order of the ids."""
    blocks = np.split(values, range(8, len(values), 8))
    return np.concatenate([(one - one.mean(0)) / (one.std(0) + 0.1) for one in blocks])


def one_nan(values: np.ndarray) -> None:
    values[7, 3] = np.nan


@pytest.mark.parametrize(("change", "said"), [
    (shuffled, r"the same view, and their answers differ by .*: the rows are in another order than the ids"),
    (batch_normed, r"or an answer depends on chance or on the other images of its batch"),
    (one_nan, r"must hold finite numbers, but 1 rows do not, such as that of the id 7"),
    (np.ones_like, r"must hold other embeddings for other views, but all \d+ have one"),
    (lambda values: values[:-1], r"in the order of the ids, got \d+ rows"),
])  # fmt: skip
def test_answers_that_cannot_be_an_encoders_are_refused(
    change: Callable[[np.ndarray], Any], said: str, planned: Path, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        spoilt(planned, table, change, tmp_path / "answers.npy").build()


def test_a_view_is_found_by_its_bytes_and_another_is_refused(planned: Path, table: Path) -> None:
    encoder = Embeddings(file=str(table), views=str(planned)).build()
    assert isinstance(encoder, TableEncoder)
    pixels = np.load(planned / "views.npy")[:5]
    views = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_array_equal(encoder.encode(views)["backbone"].numpy(), np.load(table)[:5])
    first = [int(one[:16], 16) >> 1 for one in PlannedViews.load(planned).digests[:5]]
    assert encoder.digests(views).tolist() == first
    with pytest.raises(InputError, match="but 1 of 5 are not there"):
        encoder.encode(torch.cat([views[:4], (views[4:] + 1 / 255).clamp(0, 1)]))


def test_a_plan_is_made_once_and_another_is_not_written_over_it(planned: Path, tmp_path: Path) -> None:
    before = (planned / "views.csv").read_bytes()
    plan_views(planned, [*SETTINGS, "attack=bank", "target=embeddings"])
    assert (planned / "views.csv").read_bytes() == before
    plan_views(planned, SETTINGS)
    with pytest.raises(InputError, match="must be a folder without another plan, got "):
        plan_views(planned, [*SETTINGS, "seed=1"])
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InputError, match="must be a new or empty folder, or one of the same plan"):
        plan_views(tmp_path, SETTINGS)
    with pytest.raises(InputError, match="must be a new or empty folder, or one of the same plan"):
        plan_views(tmp_path / "mine.txt", SETTINGS)
    with pytest.raises(InputError, match=r"planned for target=embeddings, got target=timm, which answers by itself"):
        plan_views(tmp_path / "new", [*SETTINGS, "target=timm"])


@pytest.mark.parametrize(("told", "said"), [
    ([], "target.views must be the folder that `lpla views plan` wrote, got nothing"),
    (["target.views={0}/gone"], "target.views must be a folder with views.csv, as `lpla views plan` writes it"),
    (["target.views={0}", "target.file={0}/gone.npy"], "target.file must be the path of a table of embeddings"),
])  # fmt: skip
def test_what_is_missing_is_said_before_any_work(told: Sequence[str], said: str, planned: Path, table: Path) -> None:
    given = ["target=embeddings", f"target.file={table}", *(one.format(planned) for one in told)]
    with pytest.raises(InputError) as refused:
        plan(composed([*SETTINGS, *dict((one.partition("=")[0], one) for one in given).values()]))
    assert said in str(refused.value)


def test_a_plan_that_was_cut_off_is_not_written_over_and_says_no_settings(planned: Path, tmp_path: Path) -> None:
    for content in ('{"images"', "[]"):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(InputError, match="must be a new or empty folder, or one of the same plan"):
            plan_views(tmp_path, SETTINGS)
    assert replace(PlannedViews.load(planned), folder=tmp_path).remedy.endswith("(planned: not known)")


def test_a_list_that_was_changed_is_refused(planned: Path, tmp_path: Path) -> None:
    lines = (planned / "views.csv").read_text().splitlines()
    for changed in ([lines[0], *lines[2:]], lines[1:], [*lines[:3], "x"], []):
        (tmp_path / "views.csv").write_text("\n".join(changed) + "\n")
        with pytest.raises(InputError, match=r"but .*views\.csv is not as it was written"):
            PlannedViews.load(tmp_path)


def test_the_command_writes_the_views(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["views", "plan", str(planned), *SETTINGS])
    assert "as PNG files (png/) and as views.npy; ids in views.csv" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        run_command(["views", "plan", str(planned), *SETTINGS, "seed=1"])
    assert capsys.readouterr().err.startswith("error: DIR must be a folder without another plan")


def test_shadows_are_tables_of_the_same_views_and_an_own_framework_sees_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    for number, pixels in enumerate(drawn):
        side = tmp_path / ("in" if number < 12 else "out")
        side.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(side / f"{number}.png")
    lists = [f"data.members={tmp_path}/in", f"data.nonmembers={tmp_path}/out", f"data.cache={tmp_path}/cache"]
    told = [*(one for one in TINY_GIVEN if one != "members=20"), *lists, "dataset.size=8"]
    plan_shadows(tmp_path / "shadows", ["k=2", *lists, "dataset.size=8"])
    for place in (tmp_path / "shadows").glob("shadow_*"):
        (place / "members.txt").unlink()
    (tmp_path / "shadows" / "plan.json").unlink()  # as of shadows that came from elsewhere
    plan_views(tmp_path / "views", [*told, "knowledge.kind=shadows", f"target.shadows={tmp_path}/shadows"])
    values = np.load(tmp_path / "views" / "views.npy").reshape(-1, 192).astype(np.float32)
    for number, name in enumerate(("target", "shadows/shadow_1/encoder", "shadows/shadow_2/encoder")):
        np.save(tmp_path / f"{name}.npy", values @ np.random.default_rng(number).normal(size=(192, 5)))
    given = [*told, *of_table(tmp_path / "views", tmp_path / "target.npy")]
    work = plan(composed([*given, "knowledge.kind=shadows", f"target.shadows={tmp_path}/shadows"]))
    assert [unit.name for unit in work.units] == ["target", "shadow_1", "shadow_2"]
    assert len({str(unit.encoder_parts) for unit in work.units}) == 3
    assert {unit.observations[0].index for unit in work.units} == {work.units[0].observations[0].index}
    np.save(tmp_path / "shadows" / "shadow_2" / "encoder.npy", np.load(tmp_path / "target.npy") * (1 + 1e-7))
    with pytest.raises(InputError, match="shadow_2 must be another encoder than the target, got the target itself"):
        plan(composed([*given, "knowledge.kind=shadows", f"target.shadows={tmp_path}/shadows"]))
    ours = ["knowledge.kind=shadows", "knowledge.arch=simclr", "members=12", "train.batch_size=4", "shadows=2"]
    work = plan(composed([*given, *ours]))
    assert len(work.units) == 3 and all(r.query.eight_bit for unit in work.units for r in unit.observations)


def test_the_judge_compares_each_views_file_with_that_of_the_view_made_again(
    planned: Path, table: Path, tmp_path: Path
) -> None:
    unit, store = plan(composed([*SETTINGS, *of_table(planned, table)])).units[0], Store(tmp_path)
    make(unit, store, Silent())
    request = unit.observations[0]
    assert _as_asked(unit, request, store).all()
    place = store.path("statistics", key_of(unit.statistic_parts(request, request.statistics[0])))
    sent = np.load(place / "sent-digest.npy")
    listed = PlannedViews.load(planned)
    by_view = dict(zip(zip(listed.images, listed.views, strict=True), listed.digests, strict=True))
    assert int(by_view[request.index[3], 1][:16], 16) >> 1 == sent[3, 1], "the digest is the planned file's"
    sent[3, 1] += 1
    np.save(place / "sent-digest.npy", sent)
    assert np.argwhere(~_as_asked(unit, request, store)).tolist() == [[3, 1]]


def test_a_plan_without_room_or_of_several_kinds_of_views_is_refused(
    planned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = plan(composed([*SETTINGS, *PYTHON])).units[0]
    other = replace(unit.observations[0], query=replace(unit.observations[0].query, seed=1))
    with pytest.raises(InputError, match="views of one kind, got 2 kinds"):
        write_views(tmp_path / "new", unit.images, (unit.observations[0], other), [], Silent())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"DIR must lie where there is room of [\d.]+ MiB for the views, got 0\.0"):
        plan_views(tmp_path / "new", SETTINGS)

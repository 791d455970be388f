"""What an audit of a folder leaves: an index leads to a file if so wished, and rows say what was left out."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_audit import TINY, Ran, scores_of

Cli = Callable[..., Ran]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pictures, of which all but nine are of one class, and a picture of a kind that is not read."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(120):
        file = root / ("rare" if number % 13 == 0 and number else "usual") / f"{number:03}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    (root / "usual" / "phone.heic").write_bytes(b"x")
    return root


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def audit_of(cli: Cli, folder: Path, *more: str) -> Ran:
    settings = ["dataset=imagefolder", "dataset.size=8", f"data.root={folder}", "epochs=0", "shadows=2"]
    job = cli(*TINY, *settings, *more)
    assert job.code == 0, job.err
    return job


def test_names_on_request_alone(cli: Cli, folder: Path, tmp_path: Path) -> None:
    job = audit_of(cli, folder, "report.images=true")
    found = rows(job.folder / "images.csv")
    index = scores_of(job.folder)["index"]
    assert [int(row["index"]) for row in found] == index.tolist()
    assert set(found[0]) == {"index", "class"}
    left = [file for file in job.folder.rglob("*") if file.is_file() and file.suffix != ".npz"]
    assert not any(b"usual/0" in file.read_bytes() for file in left)
    check_notes(job)
    job = audit_of(cli, folder, "report.images=true", "report.names=true")
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
    named = rows(job.folder / "images.csv")
    assert [row["file"] for row in named] == [files[place] for place in index]
    assert all((row["class"] == "1") == row["file"].startswith("usual/") for row in named)
    page = (job.folder / "report.html").read_text()
    shown = {int(file.stem) for file in (job.folder / "thumbnails").iterdir()}
    assert shown and all(files[place] in page for place in shown)


def check_notes(job: Ran) -> None:
    """What was left out, and that kNN has no neighbours, are said in the log and in every row."""
    import json

    assert "images: imagefolder: 120 images of 2 classes; left out: files .heic: 1" in job.out.replace("\n", "")
    for row in json.loads((job.folder / "result.json").read_text()):
        assert any(note.endswith("left out: files .heic: 1") for note in row["notes"])
        assert any(note.startswith("utility.k=200 must be below the 30 images of the bank") for note in row["notes"])
        assert row["knn_chance"] > 0.8 and row["knn_balanced_accuracy"] is not None


def test_a_data_set_without_files_has_no_names(cli: Cli) -> None:
    job = cli(*TINY, "epochs=0", "shadows=2", "report.names=true")
    assert job.code == 0 and "the images of digits are no files" in job.out.replace("\n", " ")
    assert set(rows(job.folder / "images.csv")[0]) == {"index", "class"}
    refused = cli("report.names=yes please")
    assert refused.code == 1 and "report.names must be true or false, got 'yes please'" in refused.out.replace(
        "\n", " "
    )

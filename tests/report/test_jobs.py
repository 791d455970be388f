"""What real jobs leave for their pages: norms, versions, thumbnails on request alone; a page for each and the sweep."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_audit import TINY, Ran, scores_of

from lpla.data.dataset.digits import Digits
from lpla.report.outputs import read
from lpla.report.thumbnails import chosen
from lpla.store.artifacts import Store

Cli = Callable[..., Ran]


@pytest.mark.slow
@pytest.mark.parallel
def test_jobs_leave_norms_and_pages_and_thumbnails_on_request_alone(cli: Cli, tmp_path: Path) -> None:
    job = cli(*TINY, "report.images=true")
    assert job.code == 0 and f"report: {job.folder / 'report.html'}" in job.out.replace("\n", "")
    text = (job.folder / "report.html").read_text()
    assert 'id="norms-0"' in text and "most exposed, projector" in text and text.count('alt="image ') == 32
    assert "torch" in json.loads((job.folder / "versions.json").read_text())
    check_norms(job.folder, Store(tmp_path / "store"))
    check_thumbnails(job.folder)
    sweep = cli("-m", *TINY, "p=1,2", "members=5000,20")
    page = sweep.folder.relative_to(tmp_path) / "report.html"
    assert sweep.code == 1 and f"report: {page}" in sweep.out.replace("\n", "")
    pages = sorted(str(file.relative_to(sweep.folder)) for file in sweep.folder.rglob("report.html"))
    assert pages == [f"{job}/report.html" for job in range(4)] + ["report.html"]
    text = (sweep.folder / "report.html").read_text()
    assert "members must be at least 2 and at most 898" in text and 'id="along-p"' in text
    assert "python run.py -m" in text and "p=1,2" in text
    assert not list(sweep.folder.rglob("thumbnails")) and "<h2>Images" not in text


def check_norms(folder: Path, store: Store) -> None:
    """Every image has the mean of its own first log-norms, at the job's p, as the store holds them."""
    held = scores_of(folder)
    assert held["log_norm"].shape == held["score"].shape and np.isfinite(held["log_norm"]).all()
    places = [place for kind, place, _ in store.artifacts() if kind == "statistics"]
    for layer, found in zip(held["layer"], held["log_norm"], strict=True):
        stored = [np.load(place / f"{layer}.npy") for place in places if (place / f"{layer}.npy").exists()]
        means = [v[:, :3].mean(axis=1)[..., one] for v in stored if v.ndim == 3 for one in range(v.shape[-1])]
        assert any(len(mean) >= len(found) and np.isin(found, mean).all() for mean in means)


def check_thumbnails(folder: Path) -> None:
    """The images of the highest and the lowest scores, pixel by pixel."""
    pixels = Digits().load().pixels.numpy()
    written = {
        int(file.stem): np.asarray(Image.open(file).convert("RGB")) for file in (folder / "thumbnails").iterdir()
    }
    expected = set()
    for judged in read(folder).judged.values():
        expected |= {int(judged.index[place]) for part in chosen(judged.score) for place in part}
    assert set(written) == expected
    for index, picture in written.items():
        assert np.array_equal(
            np.moveaxis(picture, -1, 0), np.broadcast_to(pixels[index], picture.shape[2:] + picture.shape[:2])
        )


def test_the_highest_scores_are_most_exposed_and_nothing_is_both() -> None:
    most, least = chosen(np.array([0.3, np.nan, 0.9, -1.0, 0.1]))
    assert most.tolist() == [2, 0] and least.tolist() == [3, 4]
    assert all(len(part) == 0 for part in chosen(np.full(4, np.nan)))

"""Facts of image files: what they are, that they tell files apart as they should, and that nothing is decoded."""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from lpla.contracts.inputs import InputError
from lpla.data.file_facts import FACTS, file_facts

DAY = 86_400


def picture(side: int = 16, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, 2 * side, 3), dtype=np.uint8))


def dated(text: str) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = text
    return exif


@pytest.fixture
def root(tmp_path: Path) -> Path:
    picture().save(tmp_path / "a.png")
    picture().save(tmp_path / "b.jpg", quality=90, exif=dated("2020:01:02 12:00:00"))
    picture().save(tmp_path / "c.jpg", quality=50, exif=dated("0000:00:00 00:00:00"))
    picture(8).convert("L").save(tmp_path / "d.tif", tiffinfo={0x132: "2020:01:04 12:00:00"})
    picture(8).save(tmp_path / "e.webp", exif=dated("2020:01:03 12:00:00"))
    os.utime(tmp_path / "a.png", ns=(0, 10 * DAY * 10**9))
    return tmp_path


def columns(root: Path) -> dict[str, list[float]]:
    names, facts = file_facts(root, sorted(file.name for file in root.iterdir()))
    assert np.isfinite(facts).all()
    return dict(zip(names, facts.T.tolist(), strict=True))


def test_each_fact(root: Path) -> None:
    found = columns(root)
    assert found["width"] == [32, 32, 32, 16, 16] and found["height"] == [16, 16, 16, 8, 8]
    sizes = [file.stat().st_size for file in sorted(root.iterdir())]
    assert np.allclose(np.expm1(found["log bytes"]), sizes)
    assert found["modified"][0] == 10
    assert found["format JPEG"] == [0, 1, 1, 0, 0] and found["format TIFF"] == [0, 0, 0, 1, 0]
    assert found["mode L"] == [0, 0, 0, 1, 0] and found["mode RGB"] == [1, 1, 1, 0, 1]
    for which, number in (("luma quantisation", 0), ("chroma quantisation", 1)):
        with Image.open(root / "b.jpg") as image:
            assert found[which][1] == np.mean(image.quantization[number])  # pyright: ignore[reportAttributeAccessIssue]
        assert found[which][2] > found[which][1] > 0 and found[which][0] == 0
    noon = [datetime(2020, 1, day, 12, tzinfo=UTC).timestamp() / DAY for day in (2, 3, 4)]
    # Two have no date (one of a clock that was never set): the median of the others stands in its place.
    assert found["EXIF date"] == [noon[1], noon[0], noon[1], noon[2], noon[1]]
    assert found["no EXIF date"] == [1, 0, 1, 0, 0]


def test_no_picture_is_decoded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("decoded"))
    assert len(columns(root)["width"]) == 5


def test_without_any_date_and_without_any_file(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    found = columns(tmp_path)
    assert found["EXIF date"] == [0] and found["no EXIF date"] == [1]
    names, facts = file_facts(tmp_path, [])
    assert names == FACTS and facts.shape == (0, len(FACTS))


def test_a_file_that_is_gone_or_no_picture(root: Path) -> None:
    (root / "x.png").write_bytes(b"no picture")
    for name in ("gone.png", "x.png"):
        with pytest.raises(InputError, match=f"the facts of image file .*{name} cannot be read"):
            file_facts(root, [name])

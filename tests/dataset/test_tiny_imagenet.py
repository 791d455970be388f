"""Tiny ImageNet's folder layout, written small: counts are replaced, the archive itself is not at hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpla.contracts.inputs import InputError
from lpla.data.dataset import tiny_imagenet
from lpla.data.dataset.tiny_imagenet import TinyImageNet


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of three training images, two validation images, one of them grey, and a box file to be ignored."""
    folder = tmp_path / "tiny-imagenet-200"
    monkeypatch.setattr(tiny_imagenet, "COUNTS", {"train": 6, "val": 2})
    monkeypatch.setattr(tiny_imagenet, "CLASSES", 2)
    random = np.random.default_rng(0)
    for wnid in ("n02", "n01"):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        for i in range(3):
            Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(images / f"{wnid}_{i}.JPEG")
        (images.parent / f"{wnid}_boxes.txt").write_text("0")
    (folder / "val" / "images").mkdir(parents=True)
    for i in range(2):
        grey = random.integers(0, 256, (64, 64), dtype=np.uint8)
        Image.fromarray(grey).save(folder / "val" / "images" / f"val_{i}.JPEG")
    (folder / "val" / "val_annotations.txt").write_text("val_1.JPEG\tn02\t0\t0\t9\t9\nval_0.JPEG\tn01\t0\t0\t9\t9\n")
    (folder / "wnids.txt").write_text("n02\nn01\n")
    return tmp_path


def of(root: Path, part: str = "pooled") -> TinyImageNet:
    return TinyImageNet(root=str(root), cache=str(root / "c"), part=part)


def test_images_and_labels_are_in_the_order_of_their_paths(root: Path) -> None:
    images = of(root).load()
    assert images.pixels.shape == (8, 3, 64, 64)
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1, 0, 1]
    with Image.open(root / "tiny-imagenet-200" / "train" / "n01" / "images" / "n01_1.JPEG") as image:
        assert np.array_equal(images.pixels[1].permute(1, 2, 0).numpy(), np.asarray(image))
    assert (images.pixels[7, 0] == images.pixels[7, 2]).all()
    assert of(root, "train").load().labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_missing_label(root: Path) -> None:
    (root / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text("val_1.JPEG\tn02\t0\t0\t9\t9\n")
    with pytest.raises(InputError, match=r"val_0.JPEG has no label \(1 of 2 have none\); unpack http"):
        of(root).load()
    assert len(of(root, "train").load()) == 6


def test_a_missing_image(root: Path) -> None:
    (root / "tiny-imagenet-200" / "train" / "n01" / "images" / "n01_1.JPEG").unlink()
    with pytest.raises(InputError, match=r"train must hold 6 images, got 5; unpack"):
        of(root).load()


def test_an_unknown_class(root: Path) -> None:
    (root / "tiny-imagenet-200" / "wnids.txt").write_text("n02\nn03\n")
    with pytest.raises(InputError, match=r"n01 is a class of a train image, but not in wnids.txt"):
        of(root).load()
    (root / "tiny-imagenet-200" / "wnids.txt").unlink()
    with pytest.raises(InputError, match=r"wnids.txt must name 2 classes, got 0"):
        of(root).load()


def test_images_of_another_size_and_damaged_ones_are_refused(root: Path) -> None:
    images = root / "tiny-imagenet-200" / "train" / "n01" / "images"
    Image.new("RGB", (32, 64)).save(images / "n01_0.JPEG")
    (images / "n01_2.JPEG").write_bytes(b"nothing")
    sentence = r"2 of 8 images .*n01_0.JPEG \(it has 32 x 64 pixels instead of 64 x 64\), .*n01_2.JPEG .*; get them"
    with pytest.raises(InputError, match=sentence):
        of(root).load()


def test_the_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs the folder tiny-imagenet-200 in data.root.* unpack http"):
        of(tmp_path).load()

"""Loaders of upstream's binary files, on small files written here in those formats.

The real archives are not at hand: the tables of checksums and counts are replaced by those of the small files, so that
only the formats, the order, the labels and the refusals are tested; CIFAR-100 alone is loaded for real, elsewhere.
"""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets

from lpla.contracts.inputs import Dataset, Images, InputError
from lpla.data.dataset import stl10
from lpla.data.dataset.stl10 import STL10
from lpla.data.dataset.torchvision import SOURCES, Torchvision

COUNTS = {"train": 6, "test": 4}
Load = Callable[..., Images]


def noise(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


@pytest.fixture
def write_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = {}
    for part, count in COUNTS.items():
        file = tmp_path / f"{part}_32x32.mat"
        pixels = noise(count, 3, 32, 32)
        savemat(file, {"X": pixels.transpose(2, 3, 1, 0), "y": np.arange(count, 0, -1)[:, None] + 4})
        table[part] = ["http://nowhere.invalid", file.name, md5(file)]
    monkeypatch.setattr(datasets.SVHN, "split_list", table)
    monkeypatch.setitem(SOURCES["svhn"].counts, "train", 6)
    monkeypatch.setitem(SOURCES["svhn"].counts, "test", 4)
    return tmp_path


@pytest.fixture
def write_fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    table = []
    for part, count in COUNTS.items():
        stem = "train" if part == "train" else "t10k"
        images = struct.pack(">iiii", 2051, count, 28, 28) + noise(count, 28, 28).tobytes()
        labels = struct.pack(">ii", 2049, count) + bytes(range(count))
        for name, content in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
            (raw / name).write_bytes(content)
            (raw / f"{name}.gz").write_bytes(gzip.compress(content))
            table.append((f"{name}.gz", md5(raw / f"{name}.gz")))
        monkeypatch.setitem(SOURCES["fashion_mnist"].counts, part, count)
    monkeypatch.setattr(datasets.FashionMNIST, "resources", table)
    return tmp_path


@pytest.fixture
def write_stl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    counts = {"train": 3, "unlabeled": 5, "test": 2}
    for part, count in counts.items():
        (folder / f"{part}_X.bin").write_bytes(noise(count, 3, 96, 96).transpose(0, 1, 3, 2).tobytes())
        if part != "unlabeled":
            (folder / f"{part}_y.bin").write_bytes(bytes(range(1, count + 1)))
    monkeypatch.setattr(stl10, "COUNTS", counts)
    for table in ("train_list", "test_list"):
        names = [row[0] for row in getattr(datasets.STL10, table)]
        monkeypatch.setattr(datasets.STL10, table, [[name, md5(folder / name)] for name in names])
    return tmp_path


def of_svhn(root: Path, part: str = "pooled") -> Torchvision:
    return Torchvision(name="svhn", root=str(root), download=False, part=part)


def of_fashion(root: Path, part: str = "pooled") -> Torchvision:
    return Torchvision(name="fashion_mnist", root=str(root), download=False, part=part)


def of_stl(root: Path, part: str = "pooled") -> STL10:
    return STL10(root=str(root), download=False, cache=str(root / "cache"), part=part)


def test_svhn(write_svhn: Path) -> None:
    images = of_svhn(write_svhn).load()
    assert np.array_equal(images.pixels.numpy(), np.concatenate([noise(6, 3, 32, 32), noise(4, 3, 32, 32)]))
    assert images.labels.tolist() == [0, 9, 8, 7, 6, 5, 8, 7, 6, 5]
    assert len(of_svhn(write_svhn, "train").load()) == 6


def test_fashion_mnist(write_fashion: Path) -> None:
    images = of_fashion(write_fashion).load()
    assert np.array_equal(images.pixels.numpy()[:, 0], np.concatenate([noise(6, 28, 28), noise(4, 28, 28)]))
    assert images.labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert len(of_fashion(write_fashion, "train").load()) == 6


def test_stl10_turns_the_columns_and_maps_them(write_stl: Path) -> None:
    images = of_stl(write_stl).load()
    expected = np.concatenate([noise(count, 3, 96, 96) for count in (3, 5, 2)])
    assert np.array_equal(images.pixels.numpy(), expected)
    assert images.labels.tolist() == [0, 1, 2, -1, -1, -1, -1, -1, 0, 1]
    train = of_stl(write_stl, "train").load()
    assert torch.equal(train.pixels, images.pixels[:8])
    assert images.digest != train.digest


def test_stl10_agrees_with_torchvision(write_stl: Path) -> None:
    found = of_stl(write_stl, "train").load()
    upstream = datasets.STL10(str(write_stl), split="train+unlabeled")
    assert np.array_equal(found.pixels.numpy(), upstream.data)
    assert np.array_equal(found.labels.numpy(), np.asarray(upstream.labels).astype(np.int8))


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_corrupted_file_is_refused(write_svhn: Path) -> None:
    flip_a_byte(write_svhn / "test_32x32.mat")
    with pytest.raises(InputError, match=r"dataset=svhn: the files of .*train_32x32.mat are incomplete or fail .* del"):
        of_svhn(write_svhn).load()
    assert len(of_svhn(write_svhn, "train").load()) == 6


def test_a_corrupted_archive_is_refused(write_fashion: Path) -> None:
    flip_a_byte(write_fashion / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(InputError, match=r"dataset=fashion_mnist: .* fail torchvision's checksums; delete them"):
        of_fashion(write_fashion).load()


def test_a_truncated_file_is_refused(write_fashion: Path) -> None:
    file = write_fashion / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"dataset=fashion_mnist: .* are incomplete"):
        of_fashion(write_fashion).load()


def test_a_corrupted_stl_file_is_refused(write_stl: Path) -> None:
    flip_a_byte(write_stl / "stl10_binary" / "unlabeled_X.bin")
    with pytest.raises(InputError, match=r"dataset=stl10: .* fail torchvision's checksums"):
        of_stl(write_stl).load()
    (write_stl / "stl10_binary" / "train_y.bin").write_bytes(b"\1")
    with pytest.raises(InputError, match=r"dataset=stl10 needs 3 labels in .*train_y.bin, got 1"):
        of_stl(write_stl).load()


def test_counts_are_verified(write_svhn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES["svhn"].counts, "test", 5)
    with pytest.raises(InputError, match=r"must have as test images 5 of 3 x 32 x 32.* holds 4 of 3 x 32 x 32"):
        of_svhn(write_svhn).load()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (of_svhn, "dataset=svhn needs the file train_32x32.mat in data.root, but .* does not exist; set data.root"),
        (of_fashion, "dataset=fashion_mnist needs the folder FashionMNIST in data.root.* or data.download=true to"),
        (of_stl, "dataset=stl10 needs the folder stl10_binary in data.root.* or data.download=true to fetch it from"),
    ],
)
def test_missing_files(make: Callable[..., Dataset], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        make(tmp_path).load()
    with pytest.raises(InputError, match=r"dataset.part must be pooled \(train and test\) or train, got test"):
        make(tmp_path, "test").load()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"dataset.name must be one of cifar10, cifar100, fashion_mnist, svhn, got mnist"
    ):
        Torchvision(name="mnist")

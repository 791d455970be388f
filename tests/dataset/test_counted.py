"""No image of a folder vanishes uncounted: what is read, what is left out and why, and what cannot be what it seems."""

import hashlib
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpla.contracts.inputs import Images, InputError
from lpla.data.dataset import _files
from lpla.data.dataset._listing import image_files
from lpla.data.dataset.imagefolder import ImageFolder


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return path


def load(root: Path, **settings) -> Images:
    return ImageFolder(root=str(root), cache=str(root.parent / "cache"), size=8, **settings).load()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    picture(root / "cats" / "1.png", 1)
    picture(root / "dogs" / "1.png", 2)
    return root


@pytest.fixture
def not_for_long() -> Iterator[None]:
    """Whoever opens a pipe waits for ever: a failure after a minute instead."""
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("suffix", [".jfif", ".avif", ".jp2", ".jpe", ".tga", ".pnm", ".JPG"])
def test_what_pillow_reads_is_read(root: Path, suffix: str) -> None:
    picture(root / "cats" / f"2{suffix}")
    images = load(root)
    assert images.names == ("cats/1.png", f"cats/2{suffix}", "dogs/1.png") and images.left_out == ()
    assert images.summary == "imagefolder: 3 images of 2 classes"


def test_what_it_does_not_read_is_counted_by_its_kind(root: Path) -> None:
    for name in ("a.heic", "b.HEIC", "readme.txt", "noext", ".hidden.png"):
        (root / "cats" / name).write_bytes(b"x")
    images = load(root)
    expected = ("files .heic: 2", "files .txt: 1", "files without a suffix: 1", "hidden files: 1")
    assert images.left_out == expected
    assert images.summary == f"imagefolder: 2 images of 2 classes; left out: {', '.join(expected)}"
    (root.parent / "phone").mkdir()
    (root.parent / "phone" / "a.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"data.root=.*phone has none beside files .heic: 1$"):
        load(root.parent / "phone")


def test_hidden_folders_are_no_classes(root: Path) -> None:
    picture(root / ".ipynb_checkpoints" / "1-checkpoint.png")
    picture(root / ".git" / "1.png")
    images = load(root)
    assert images.labels.tolist() == [0, 1]
    assert images.left_out == ("folders .git: 1", "folders .ipynb_checkpoints: 1")


def test_folders_that_are_links_are_classes_and_none_is_read_twice(root: Path) -> None:
    picture(root.parent / "elsewhere" / "1.png", 3)
    (root / "birds").symlink_to(root.parent / "elsewhere")
    (root / "all").symlink_to(root)  # a cycle
    (root / "a").symlink_to(root / "dogs")
    (root / "cats" / "up").symlink_to("..")
    images = load(root)
    assert images.names == ("birds/1.png", "cats/1.png", "dogs/1.png") and images.labels.tolist() == [0, 1, 2]
    assert images.left_out == ("links to folders that are read already: 3",)


def test_a_link_to_nothing_is_said_or_skipped(root: Path) -> None:
    (root / "cats" / "2.png").symlink_to(root / "gone.png")
    (root / "lions").symlink_to(root / "gone")
    with pytest.raises(
        InputError, match=r"2 of 4 images .*cats/2.png \(it is a link to nothing\), lions \(it is a link"
    ):
        load(root)
    images = load(root, on_bad_image="skip")
    assert len(images) == 2 and images.left_out == ("unreadable: 2 (cats/2.png, lions)",)


def test_a_pipe_is_not_waited_for(root: Path, not_for_long: None) -> None:
    os.mkfifo(root / "cats" / "2.png")
    with pytest.raises(InputError, match=r"1 of 3 images .*cats/2.png \(it is no regular file\)"):
        load(root)
    assert len(load(root, on_bad_image="skip")) == 2


@pytest.fixture
def unreadable() -> Iterator[Path]:
    """A folder of two classes of which this user may not read one; root, who may read all, is nobody meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("cats", "dogs"):
            picture(root / name / "1.png")
        root.chmod(0o755)
        (root / "dogs").chmod(0)
        was_root = os.geteuid() == 0
        if was_root:
            os.seteuid(65534)
        try:
            yield root
        finally:
            if was_root:
                os.seteuid(0)
            (root / "dogs").chmod(0o700)


def test_a_folder_that_cannot_be_read_is_named(unreadable: Path) -> None:
    found = image_files(unreadable)
    assert found.names == ["cats/1.png"] and found.unusable == {"dogs/": "Permission denied"}


@pytest.mark.parametrize("parts", [("train", "val"), ("Train",), ("train", "test", "extra")])
def test_parts_of_a_data_set_are_not_taken_for_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    root = tmp_path / "set"
    for part in parts:
        picture(root / part / "cats" / "1.png")
        picture(root / part / "dogs" / "1.png")
    first = next(part for part in sorted(parts) if part != "extra")
    sentence = (
        rf"{first}.* like parts of a data set: set data.root={root / first} .* or dataset.class_level=2 to take all"
    )
    with pytest.raises(InputError, match=sentence):
        load(root)
    assert load(root, class_level=2).labels.tolist() == [0, 1] * len(parts)
    assert load(root / first).labels.tolist() == [0, 1]


def test_a_class_may_be_called_train(root: Path) -> None:
    picture(root / "train" / "1.png")
    assert load(root).labels.tolist() == [0, 1, 2]


def grey(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint16)).save(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_values_of_fewer_bits_than_their_file_are_noticed_by_the_largest(tmp_path: Path, bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (8, 8))
    values[0, 0] = 2**bits - 1
    grey(tmp_path / "p" / "1.png", values)
    # A dark picture is as dark as it was beside the other: the folder has one scale.
    grey(tmp_path / "p" / "2.tif", values // 16)
    pixels = load(tmp_path / "p").pixels.numpy()
    assert np.array_equal(pixels[0], np.stack([values >> (bits - 8)] * 3))
    assert np.array_equal(pixels[1], np.stack([values // 16 >> (bits - 8)] * 3))


@pytest.mark.wrong_types
def test_bits_may_be_set(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**12, (8, 8))
    grey(tmp_path / "p" / "1.png", values)
    assert np.array_equal(load(tmp_path / "p", bits=16).pixels[0, 0].numpy(), values >> 8)
    few = rf"dataset.bits must be null or at least 12, as .*p/1.png has the value {values.max()}, got (8|10)$"
    for bits in (8, 10):
        for on_bad_image in ("error", "skip"):
            with pytest.raises(InputError, match=few):
                load(tmp_path / "p", bits=bits, on_bad_image=on_bad_image)
    for bits in (7, 17, "12", 2.5):
        with pytest.raises(InputError, match=r"dataset.bits must be null or an integer from 8 to 16, got"):
            load(tmp_path / "p", bits=bits)


def test_copies_that_an_earlier_version_decoded_with_too_few_bits_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting was as it is, and so was the key: values had lost their upper bits for good."""
    values = np.full((8, 8), 2**12 - 1)
    grey(tmp_path / "p" / "1.png", values)

    def decoded_before(path: Path, size: int, resize: bool, bits: int) -> np.ndarray:
        return np.stack([(values >> (bits - 8)).astype(np.uint8)] * 3)

    with monkeypatch.context() as earlier:
        earlier.setattr(_files, "RULE", 2)
        earlier.setattr(_files, "decode", decoded_before)
        load(tmp_path / "p", bits=8)
    with pytest.raises(InputError, match=r"dataset\.bits must be null or at least 12"):
        load(tmp_path / "p", bits=8)


def test_the_rule_s_version_is_that_of_these_pixels(tmp_path: Path) -> None:
    """Whoever changes what is decoded raises `RULE`, writes the new digest here, and so reads no copy made before."""
    random, content = np.random.default_rng(3), hashlib.sha256()
    grey(tmp_path / "deep.png", random.integers(0, 2**12, (9, 12)))
    colour = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6  # the orientation: a quarter turn
    colour.save(tmp_path / "turned.png", exif=turned)
    colour.convert("P").save(tmp_path / "palette.png")
    colour.convert("L").resize((8, 8)).save(tmp_path / "grey.png")
    for name in ("deep", "turned", "palette", "grey"):
        content.update(_files.decode(tmp_path / f"{name}.png", 8, True, 12).tobytes())
    assert (_files.RULE, content.hexdigest()[:16]) == (3, "552b5ed20ceed21a")


def test_what_pillow_warns_of_is_logged_with_the_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert len(load(root)) == 2
    assert f"{root / 'cats' / '1.png'}: Image size (64 pixels) exceeds limit of 60 pixels" in caplog.text
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)
    with pytest.raises(InputError, match=r"2 of 2 images .*cats/1.png \(Image size \(64 pixels\) exceeds limit of 60"):
        load(root, on_bad_image="error", bits=16)

"""A folder of images: the rule, the order, the classes, the cache, and what cannot be used."""

import logging
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lpla.contracts.inputs import Images, InputError
from lpla.data.dataset import _files
from lpla.data.dataset.imagefolder import ImageFolder
from lpla.store.__main__ import main as prune
from lpla.work.plug_in import load_images


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def load(root: Path, size: int = 8, on_bad_image: str = "error") -> Images:
    cache = str(root.parent / "cache")
    return ImageFolder(root=str(root), cache=cache, size=size, on_bad_image=on_bad_image).load()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three images of 8 x 8 pixels; what is no image is ignored."""
    root = tmp_path / "pictures"
    for i, name in enumerate(("b/1.png", "a/x/2.PNG", "a/1.png")):
        save(root / name, noise(8, 8, 3) + np.uint8(i))
    (root / "readme.txt").write_text("no image")
    (root / "a" / "._1.png").write_text("a hidden file")
    return root


def test_a_relative_path_goes_from_the_folder_in_which_the_process_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"_target_": "lpla.data.dataset.imagefolder.ImageFolder", "root": "pictures", "cache": str(tmp_path / "c")}
    for count in (2, 3):
        for i in range(count):
            save(tmp_path / str(count) / "pictures" / f"{i}.png", noise(8, 8, 3) + np.uint8(i))
        monkeypatch.chdir(tmp_path / str(count))
        assert len(load_images(told).pixels) == count


def test_the_order_is_that_of_the_paths_and_folders_are_classes(root: Path) -> None:
    images = load(root)
    expected = np.stack([noise(8, 8, 3) + np.uint8(i) for i in (2, 1, 0)]).transpose(0, 3, 1, 2)
    assert np.array_equal(images.pixels.numpy(), expected)
    assert images.labels.tolist() == [0, 0, 1]


def test_images_in_no_subfolder_have_no_label(root: Path) -> None:
    save(root / "c.png", noise(8, 8, 3))
    assert load(root).labels.tolist() == [0, 0, 1, -1]


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (noise(8, 8), {}),
        (np.dstack([noise(8, 8), noise(8, 8), noise(8, 8), noise(8, 9)[:, :8]]), {}),
        (noise(8, 8).astype(np.uint16) * 256 + 7, {}),
    ],
    ids=["grey", "transparent", "16 bit"],
)
def test_every_kind_becomes_red_green_and_blue(tmp_path: Path, pixels: np.ndarray, options: dict) -> None:
    save(tmp_path / "p" / "1.png", pixels, **options)
    assert np.array_equal(load(tmp_path / "p").pixels[0].numpy(), np.stack([noise(8, 8)] * 3))


def test_a_palette(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    palette = Image.fromarray(noise(8, 8, 3)).quantize(16)
    palette.save(tmp_path / "p" / "1.png", transparency=bytes(range(16)))
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(load(tmp_path / "p").pixels[0].numpy(), expected)


def test_the_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned: to be seen upright, rotate by 90 degrees clockwise.
    save(tmp_path / "p" / "1.png", noise(8, 8, 3), exif=exif)
    expected = np.rot90(noise(8, 8, 3), -1).transpose(2, 0, 1)
    assert np.array_equal(load(tmp_path / "p").pixels[0].numpy(), expected)


def test_other_sizes_give_their_largest_centred_square(tmp_path: Path) -> None:
    wide = noise(8, 20, 3)
    save(tmp_path / "p" / "1.png", wide)
    assert np.array_equal(load(tmp_path / "p").pixels[0].numpy(), wide[:, 6:14].transpose(2, 0, 1))
    save(tmp_path / "q" / "1.png", np.kron(noise(4, 4), np.ones((6, 6))).astype(np.uint8))
    assert load(tmp_path / "q").pixels.shape == (1, 3, 8, 8)


def test_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(root)
    monkeypatch.setattr(_files, "decode", lambda *_, **__: pytest.fail("decoded again"))
    second = load(root)
    assert torch.equal(first.pixels, second.pixels) and first.digest == second.digest
    (place,) = (root.parent / "cache" / "imagefolder").iterdir()
    assert not list((root.parent / "cache" / "unfinished").iterdir())
    # Private images are their owner's alone, whatever the umask of the process.
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (root.parent / "cache", place)] == [0o700, 0o700]


def test_decoded_images_are_pruned_by_the_command_of_the_store(root: Path, capsys: pytest.CaptureFixture) -> None:
    load(root)
    prune(["--store", str(root.parent / "cache"), "prune", "0"])
    assert "deleted 1 artifacts" in capsys.readouterr().out
    assert not list((root.parent / "cache" / "imagefolder").iterdir())
    assert len(load(root)) == 3


def test_a_changed_file_is_decoded_again(root: Path) -> None:
    before = load(root)
    save(root / "a" / "1.png", noise(8, 8, 3) + np.uint8(99))
    os.utime(root / "a" / "1.png", ns=(0, 1))
    assert load(root).digest != before.digest


def test_another_size_is_another_cache(root: Path) -> None:
    assert load(root).pixels.shape[2] == 8
    assert load(root, size=4).pixels.shape[2] == 4


@pytest.mark.parametrize("harm", ["flip", "truncate", "json"])
def test_a_damaged_cache_is_named_and_made_again(root: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    digest = load(root).digest
    (pixels,) = (root.parent / "cache").glob("imagefolder/*/pixels.bin")
    content = pixels.read_bytes()
    if harm == "json":
        (pixels.parent / "content.json").write_text("{")
    else:
        pixels.write_bytes(content[:-1] + (b"" if harm == "truncate" else bytes([content[-1] ^ 1])))
    assert load(root).digest == digest
    assert "damaged artifact" in caplog.text and str(pixels.parent) in caplog.text
    assert len(list((root.parent / "cache").glob("damaged/*"))) == 1


def test_the_pixels_cannot_change_the_file(root: Path) -> None:
    images = load(root)
    digest = images.digest
    images.pixels.zero_()
    assert load(root).digest == digest


def test_unreadable_files_are_all_named(root: Path) -> None:
    (root / "a" / "3.jpg").write_bytes(b"")
    (root / "b" / "0.png").write_bytes((root / "b" / "1.png").read_bytes()[:100])
    sentence = r"2 of 5 images in .* cannot be used: a/3.jpg \(.*\), b/0.png \(.*\); .* dataset.on_bad_image=skip$"
    with pytest.raises(InputError, match=sentence):
        load(root)
    assert not (root.parent / "cache" / "imagefolder").exists()
    assert not list((root.parent / "cache" / "unfinished").iterdir())


def test_unreadable_files_are_skipped_on_request(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = load(root)
    (root / "a" / "0.jpg").write_bytes(b"no image")
    images = load(root, on_bad_image="skip")
    assert torch.equal(images.pixels, whole.pixels) and torch.equal(images.labels, whole.labels)
    assert f"skipped {root / 'a' / '0.jpg'}" in caplog.text
    again = load(root, on_bad_image="skip")
    assert images.digest == again.digest
    assert images.left_out[0] == again.left_out[0] == "unreadable: 1 (a/0.jpg)"


def test_a_long_list_of_unreadable_files_is_cut(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for i in range(13):
        (tmp_path / "p" / f"{i:02}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"13 of 13 images .*09.png \([^)]*\) and 3 more; repair or remove them"):
        load(tmp_path / "p")
    with pytest.raises(InputError, match=r"none of the 13 images in .* can be decoded"):
        load(tmp_path / "p", on_bad_image="skip")


def test_bad_settings(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"needs a folder of images \(.apng, .*\), but data.root=.*empty has none"):
        load(tmp_path / "empty")
    with pytest.raises(InputError, match=r"data.root=.*nowhere is no folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"dataset.on_bad_image must be error or skip, got skipp"):
        load(root, on_bad_image="skipp")
    with pytest.raises(InputError, match=r"dataset.size must be an integer >= 1 \(pixels\), got 0"):
        load(root, size=0)
    (tmp_path / "cache").write_text("in the way")
    with (
        caplog.at_level(logging.ERROR),
        pytest.raises(InputError, match=r"data.cache must be a folder this user can write"),
    ):
        load(root)


def test_a_disk_without_room_for_all_decoded_images_is_noticed_before_the_first_is_decoded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_files, "decode", lambda *_: pytest.fail("decoded an image for which there is no room"))
    said = (
        r"dataset=imagefolder makes this job \(3 images of 1000000 x 1000000 pixels\) need 8,381.9 GiB in data.cache="
    )
    with pytest.raises(InputError, match=f"{said}.*GiB are free; lower dataset.size"):
        load(root, size=1_000_000)


def test_memory_that_ends_while_an_image_is_decoded_is_one_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(_files.ImageOps, "fit", full)
    with pytest.raises(InputError, match=r"a/1.png at 9 x 9 pixels needs more memory .*; lower dataset.size$"):
        load(root, size=9)


@pytest.mark.parametrize("inside", [".", "decoded", "a/../b"])
def test_decoded_pixels_are_not_written_among_the_images(root: Path, inside: str) -> None:
    before = sorted(root.rglob("*"))
    with pytest.raises(InputError, match=r"data.cache must be a folder outside data.root=.*, got "):
        ImageFolder(root=str(root), cache=str(root / inside), size=8).load()
    link = root.with_name("link")
    link.symlink_to(root)
    with pytest.raises(InputError, match=r"data.cache must be a folder outside data.root=.*, got "):
        ImageFolder(root=str(root), cache=str(link / inside), size=8).load()
    assert sorted(root.rglob("*")) == before

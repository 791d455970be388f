"""Pixel summaries and thumbnails, one image at a time."""

import zlib

import numpy as np
import pytest
from scipy.stats import entropy

from lpla.data import pixels as pixel
from lpla.data.pixels import SUMMARIES, summaries, thumbnails


@pytest.fixture
def images() -> np.ndarray:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (7, 3, 16, 16), dtype=np.uint8)
    images[1], images[2, :, 4:] = 0, 255
    return images


def test_summaries_of_one_image_at_a_time(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel, "_CHUNK", 3)
    found = summaries(images)
    for row, image in zip(found, images, strict=True):
        values = image.ravel().astype(float)
        bits = entropy(np.unique(image, return_counts=True)[1], base=2)
        size = len(zlib.compress(image.tobytes(), 1))
        expected = [np.linalg.norm(values), values.mean(), values.std(), bits, size]
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-9)
    assert found.shape == (7, len(SUMMARIES))


def test_thumbnails_are_block_means(images: np.ndarray) -> None:
    blocks = images.reshape(7, 3, 8, 2, 8, 2).mean(axis=(3, 5)) / 255
    np.testing.assert_allclose(thumbnails(images), blocks.reshape(7, -1), rtol=1e-6)
    np.testing.assert_allclose(thumbnails(images[:, :, :4, :4]), images[:, :, :4, :4].reshape(7, -1) / 255, rtol=1e-6)

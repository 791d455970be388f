"""Crops against torchvision's resized_crop, image by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from lpla.data.augment.boxes import crop_boxes, whole_boxes
from lpla.data.augment.crop import resized_crop
from lpla.data.augment.draws import uniforms

SIDES = [(8, 8), (32, 32), (64, 48), (33, 31)]
SIZES = [(8, 8), (32, 32), (64, 48), (17, 40), (1, 1)]


def some_boxes(side: tuple[int, int], count: int = 12) -> torch.Tensor:
    drawn = uniforms(4, torch.arange(count), 1, 22)
    return crop_boxes(drawn[:, :10], drawn[:, 10:20], drawn[:, 20:], (0.02, 1.0), (0.3, 3.0), side)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("size", SIZES)
def test_equals_torchvision(side: tuple[int, int], size: tuple[int, int]) -> None:
    boxes = some_boxes(side)
    boxes[-1] = torch.tensor([0, 0, *side])
    pixels = torch.rand(len(boxes), 3, *side, generator=torch.Generator().manual_seed(0))
    flip = torch.arange(len(boxes)) % 2 == 1
    mine = resized_crop(pixels, boxes, flip, size)
    for image, (top, left, high, wide), flipped, result in zip(pixels, boxes.tolist(), flip, mine, strict=True):
        expected = tv.resized_crop(image, top, left, high, wide, list(size), antialias=True)
        expected = tv.horizontal_flip(expected) if flipped else expected
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_a_whole_image_of_its_own_size_is_copied_exactly() -> None:
    pixels = torch.rand(3, 2, 31, 17)
    flip = torch.tensor([True, False, True])
    mine = resized_crop(pixels, whole_boxes(3, (31, 17), pixels.device), flip, (31, 17))
    assert torch.equal(mine, torch.where(flip[:, None, None, None], pixels.flip(-1), pixels))


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_images_stay_flat_and_inside_the_range(level: float) -> None:
    boxes = some_boxes((40, 50), 50)
    mine = resized_crop(torch.full((50, 1, 40, 50), level), boxes, torch.zeros(50, dtype=torch.bool), (32, 32))
    assert 0 <= mine.min() <= mine.max() <= 1
    torch.testing.assert_close(mine, torch.full_like(mine, level), rtol=0, atol=3e-7)

"""Colour operations against torchvision's functional forms, image by image."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from lpla.data.augment.colour import BRIGHTNESS, CONTRAST, HUE, NEUTRAL, SATURATION, grayscale, hue, jitter, luminance

OPERATIONS = {
    BRIGHTNESS: tv.adjust_brightness,
    CONTRAST: tv.adjust_contrast,
    SATURATION: tv.adjust_saturation,
    HUE: tv.adjust_hue,
}


def images(count: int, channels: int = 3) -> torch.Tensor:
    """Noise with flat, grey, black, white, saturated and two-channel ties among the pixels."""
    pixels = torch.rand(count, channels, 12, 11, generator=torch.Generator().manual_seed(1))
    pixels[:, :, 0] = 0.0
    pixels[:, :, 1] = 1.0
    pixels[:, :, 2] = 0.3
    pixels[:, 1:, 3] = 0.0
    pixels[:, :2, 4] = 0.8
    pixels[:, -2:, 5] = 0.1
    return pixels


def some_factors(count: int) -> torch.Tensor:
    drawn = torch.rand(count, 4, generator=torch.Generator().manual_seed(2))
    return drawn * torch.tensor([2.0, 2.0, 2.0, 1.0]) - torch.tensor([0.0, 0.0, 0.0, 0.5])


def oracle(image: torch.Tensor, factors: list[float], order: list[int]) -> torch.Tensor:
    for operation in order:
        image = OPERATIONS[operation](image, factors[operation])
    return image


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_equals_torchvisions(operation: int) -> None:
    pixels = images(30)
    factors = torch.tensor(NEUTRAL).repeat(30, 1)
    factors[:, operation] = some_factors(30)[:, operation]
    order = torch.arange(4).repeat(30, 1)
    for image, row, mine in zip(pixels, factors, jitter(pixels, factors, order), strict=True):
        torch.testing.assert_close(mine, OPERATIONS[operation](image, row[operation].item()), rtol=0, atol=2e-6)


def test_every_order_equals_torchvisions() -> None:
    orders = list(permutations(range(4))) * 2
    pixels, factors = images(len(orders)), some_factors(len(orders))
    mine = jitter(pixels, factors, torch.tensor(orders))
    expected = [oracle(*each) for each in zip(pixels, factors.tolist(), map(list, orders), strict=True)]
    torch.testing.assert_close(mine, torch.stack(expected), rtol=0, atol=1e-5)


def test_brightness_and_contrast_of_one_channel() -> None:
    pixels, factors = images(20, 1), some_factors(20)
    factors[:, SATURATION], factors[:, HUE] = 1.0, 0.0
    order = torch.tensor([[1, 0, 2, 3], [3, 0, 2, 1]]).repeat(10, 1)
    mine = jitter(pixels, factors, order, (True, True, False, False))
    expected = [oracle(*each) for each in zip(pixels, factors.tolist(), order.tolist(), strict=True)]
    torch.testing.assert_close(mine, torch.stack(expected), rtol=0, atol=2e-6)


def test_neutral_factors_change_no_bit() -> None:
    pixels = images(5)
    assert torch.equal(jitter(pixels, torch.tensor(NEUTRAL).repeat(5, 1), torch.arange(4).repeat(5, 1)), pixels)


def test_inactive_operations_are_not_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpla.data.augment.colour.on_chosen", None)
    monkeypatch.setattr("lpla.data.augment.colour._blend", None)
    pixels = images(3)
    assert jitter(pixels, some_factors(3), torch.arange(4).repeat(3, 1), (False, False, False, False)) is pixels


@pytest.mark.parametrize("shift", [-0.5, -0.1, 0.0, 1 / 6, 0.5])
def test_hue_equals_torchvisions(shift: float) -> None:
    pixels = images(4)
    torch.testing.assert_close(hue(pixels, torch.full((4,), shift)), tv.adjust_hue(pixels, shift), rtol=0, atol=2e-6)


def test_grayscale_equals_torchvisions_where_chosen() -> None:
    pixels = images(4)
    mine = grayscale(pixels, torch.tensor([True, False, True, False]))
    torch.testing.assert_close(mine[::2], tv.rgb_to_grayscale(pixels[::2], 3), rtol=0, atol=2e-7)
    assert torch.equal(mine[1::2], pixels[1::2])


def test_luminance_of_one_channel_is_that_channel() -> None:
    assert torch.equal(luminance(images(2, 1)), images(2, 1))

"""Gaussian blur against torchvision's gaussian_blur, image by image."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from lpla.data.augment.blur import blur, kernel_size


@pytest.mark.parametrize(("side", "expected"), [(2, 3), (8, 3), (32, 3), (39, 3), (40, 5), (64, 7), (96, 9), (224, 23)])
def test_kernel_is_a_tenth_of_the_side(side: int, expected: int) -> None:
    assert kernel_size(side) == expected


@pytest.mark.parametrize(("height", "width"), [(2, 2), (8, 8), (32, 32), (64, 48), (20, 100)])
@pytest.mark.parametrize("channels", [1, 3])
def test_equals_torchvision(height: int, width: int, channels: int) -> None:
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0])
    pixels = torch.rand(4, channels, height, width, generator=torch.Generator().manual_seed(0))
    size = [kernel_size(width), kernel_size(height)]
    for image, each, mine in zip(pixels, sigma.tolist(), blur(pixels, sigma), strict=True):
        torch.testing.assert_close(mine, tv.gaussian_blur(image, size, [each, each]), rtol=0, atol=1e-6)

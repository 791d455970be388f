"""Where a random resized crop cuts: integer boxes with the distribution of torchvision's RandomResizedCrop.get_params.

Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015; torchvision.transforms.RandomResizedCrop.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

ATTEMPTS = 10


def crop_boxes(
    area: Float32[Tensor, "B 10"],
    aspect: Float32[Tensor, "B 10"],
    corner: Float32[Tensor, "B 2"],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    side: tuple[int, int],
) -> Int64[Tensor, "B 4"]:
    """Choose a crop of each image.

    The first of ten attempts that fits is taken; if none fits, the central crop whose ratio is nearest to the allowed.

    Args:
        area: Draws in [0, 1) for the area of ten attempts.
        aspect: Draws in [0, 1) for their ratio of width to height.
        corner: Draws in [0, 1) for the place.
        scale: Least and greatest share of the image's area.
        ratio: Least and greatest ratio of width to height.
        side: Height and width of the images in pixels.

    Returns:
        Boxes (top, left, height, width) in pixels, inside the images.
    """
    # float64: a box is rounded to whole pixels, and an ulp of exp that differs between devices must not move it.
    high, wide = _sizes(area.double(), aspect.double(), scale, ratio, side)
    fits = (high > 0) & (high <= side[0]) & (wide > 0) & (wide <= side[1])
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    high, wide = high.gather(1, first)[:, 0], wide.gather(1, first)[:, 0]
    down, along = corner.double().unbind(1)
    drawn = (down * (side[0] - high + 1)).floor(), (along * (side[1] - wide + 1)).floor(), high, wide
    found = fits.any(1)
    chosen = [torch.where(found, one, other) for one, other in zip(drawn, _central(ratio, side), strict=True)]
    return torch.stack(chosen, 1).long()


def whole_boxes(batch: int, side: tuple[int, int], device: torch.device) -> Int64[Tensor, "{batch} 4"]:
    """Make the boxes of whole images.

    Args:
        batch: Number of images.
        side: Their height and width in pixels.
        device: Device of the result.

    Returns:
        Boxes (top, left, height, width).
    """
    boxes = torch.zeros(batch, 4, dtype=torch.int64, device=device)
    boxes[:, 2], boxes[:, 3] = side
    return boxes


def _sizes(
    area: Tensor, aspect: Tensor, scale: tuple[float, float], ratio: tuple[float, float], side: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Heights and widths in whole pixels (kept as float64) of every attempt."""
    target = side[0] * side[1] * (scale[0] + (scale[1] - scale[0]) * area)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    drawn = torch.exp(low + (high - low) * aspect)
    return torch.sqrt(target / drawn).round(), torch.sqrt(target * drawn).round()


def _central(ratio: tuple[float, float], side: tuple[int, int]) -> tuple[int, int, int, int]:
    height, width = side
    if width / height < ratio[0]:
        # torchvision lets a ratio above the width's own round to no rows at all; one row is the least that is a crop.
        height = max(1, round(width / ratio[0]))
    elif width / height > ratio[1]:
        width = max(1, round(height * ratio[1]))
    return (side[0] - height) // 2, (side[1] - width) // 2, height, width

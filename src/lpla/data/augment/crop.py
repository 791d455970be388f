"""Crop, resize and flip each image of a batch by its own box, as torchvision's antialiased bilinear resized_crop does.

Source: torch's upsample_bilinear2d_aa (Pillow's triangle filter). Of an image's two interpolation matrices only the
non-zero entries (taps) are kept and summed one by one: a bmm would be rounded to bfloat16 under autocast and to TF32 by
torch.set_float32_matmul_precision, whereas products and sums of elements give the same bits everywhere.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor


def resized_crop(
    pixels: Float32[Tensor, "B C H W"], box: Int64[Tensor, "B 4"], flip: Bool[Tensor, " B"], size: tuple[int, int]
) -> Float32[Tensor, "B C S T"]:
    """Cut out each image's box, resize it and mirror it where `flip` says so.

    Args:
        pixels: Images in [0, 1].
        box: Top, left, height and width in pixels, inside the image.
        flip: Which images are mirrored.
        size: Height and width of the result in pixels.

    Returns:
        Images in [0, 1]; a box that already has the output's size is copied exactly.
    """
    batch, channels, height, width = pixels.shape
    top, left, high, wide = box.unbind(1)
    rows = _taps(top, high, torch.zeros_like(flip), height, size[0])
    columns = _taps(left, wide, flip, width, size[1])
    # The axis to be interpolated goes first, so that what a tap fetches is contiguous in memory.
    lines = pixels.permute(0, 2, 1, 3).reshape(batch, height, channels * width)
    lines = _interpolate(lines, *rows).view(batch, size[0], channels, width)
    lines = lines.permute(0, 3, 2, 1).reshape(batch, width, channels * size[0])
    lines = _interpolate(lines, *columns).view(batch, size[1], channels, size[0])
    # Normalised weights sum to 1 only up to rounding.
    return lines.permute(0, 2, 3, 1).contiguous().clamp_(0.0, 1.0)


def _taps(start: Tensor, length: Tensor, flip: Tensor, side: int, size: int) -> tuple[Tensor, Tensor]:
    """Which pixels [B, S, K] of an axis of `side` pixels make each of `size` outputs, and their weights [B, S, K]."""
    device = start.device
    count = math.ceil(2 * max(side / size, 1.0))  # the widest filter: that of a crop as large as the image
    output = torch.arange(size, device=device)
    output = torch.where(flip[:, None], size - 1 - output, output)
    length = length[:, None, None]
    scale = length.to(torch.float32) / size
    support = scale.clamp(min=1.0)
    centre = scale * (output[..., None] + 0.5)
    first = (centre - support + 0.5).long().clamp(min=0)
    pixel = first + torch.arange(count, device=device)
    weight = (1.0 - ((pixel + 0.5 - centre) / support).abs()).clamp(min=0.0) * (pixel < length)
    weight = weight / weight.sum(-1, keepdim=True)
    return pixel.minimum(length - 1) + start[:, None, None], weight


def _interpolate(lines: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums [B, S, F] of the lines [B, L, F] of each image, chosen by index [B, S, K]."""
    batch, length, width = lines.shape
    flat = lines.reshape(batch * length, width)
    index = index + length * torch.arange(batch, device=lines.device)[:, None, None]
    total = flat.new_zeros(())
    for tap in range(index.shape[-1]):
        fetched = flat.index_select(0, index[..., tap].reshape(-1))
        total = fetched.mul_(weight[..., tap].reshape(-1, 1)).add_(total)
    return total.view(batch, index.shape[1], width)

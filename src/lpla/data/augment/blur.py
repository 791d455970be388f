"""Gaussian blur with each sample's own sigma, equal to torchvision's gaussian_blur.

Source: Chen et al., "A simple framework for contrastive learning of visual representations" (SimCLR), ICML 2020, app. A
(a kernel of 10 % of the side). Taps are summed one by one, as in crop.py: autocast would round a convolution.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional as F


def kernel_size(side: int) -> int:
    """Return the odd number nearest to a tenth of the side in pixels, at least 3."""
    return max(3, 2 * (side // 20) + 1)


def blur(pixels: Float32[Tensor, "B C H W"], sigma: Float32[Tensor, " B"]) -> Float32[Tensor, "B C H W"]:
    """Return pixels in [0, 1] blurred by a Gaussian of `sigma` pixels, cut at `kernel_size`, with reflected borders.

    Height and width are at least 2.
    """
    for axis in (2, 3):
        pixels = _blur_axis(pixels, sigma, axis)
    return pixels.clamp_(0.0, 1.0)


def _blur_axis(pixels: Tensor, sigma: Tensor, axis: int) -> Tensor:
    side = pixels.shape[axis]
    kernel = _kernels(kernel_size(side), sigma)
    reach = kernel.shape[1] // 2
    padding = (reach, reach, 0, 0) if axis == 3 else (0, 0, reach, reach)
    padded = F.pad(pixels, padding, mode="reflect")
    total = torch.zeros_like(pixels)
    for tap, weight in enumerate(kernel.unbind(1)):
        total += padded.narrow(axis, tap, side) * weight[:, None, None, None]
    return total


def _kernels(size: int, sigma: Tensor) -> Tensor:
    """Normalised kernels [B, size], as torchvision computes them: x in units of sqrt(2) sigma."""
    limit = (size - 1) / (2.0 * math.sqrt(2.0))
    # float64: an ulp of exp that differs between devices does not survive the rounding to float32.
    x = torch.linspace(-limit, limit, size, dtype=torch.float64, device=sigma.device)
    return torch.softmax(-((x / sigma.double()[:, None]) ** 2), dim=1).to(torch.float32)

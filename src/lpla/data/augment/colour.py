"""Colour jitter and greyscale with each sample's own factors and order, equal to torchvision's functional forms.

Source: Chen et al., "A simple framework for contrastive learning of visual representations" (SimCLR), ICML 2020;
torchvision.transforms.v2.functional. Products and sums are separate operations (no alpha=, no addcmul): whether torch
fuses the rounding of the two is up to its build and device, and a view must not depend on them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)
"""Factors that change nothing."""


def on_chosen(
    operation: Callable[[Tensor, Tensor], Tensor],
    pixels: Float32[Tensor, "B C H W"],
    parameter: Float32[Tensor, " B"],
    chosen: Bool[Tensor, " B"],
) -> Float32[Tensor, "B C H W"]:
    """Apply an operation to some of the images.

    Args:
        operation: From pixels and a parameter for each image to pixels.
        pixels: The images.
        parameter: A number for each image.
        chosen: The images that are changed.

    Returns:
        `operation(pixels, parameter)` where `chosen`, and the pixels unchanged elsewhere.
    """
    if pixels.device.type == "cpu":
        index = chosen.nonzero().squeeze(1)
        return pixels.index_copy(0, index, operation(pixels[index], parameter[index]))
    # On an accelerator computing all of them costs less than waiting for the count of the chosen (torch's note on CUDA
    # semantics: the host knows that count only after a synchronisation).
    return torch.where(chosen[:, None, None, None], operation(pixels, parameter), pixels)


def luminance(pixels: Float32[Tensor, "B C H W"]) -> Float32[Tensor, "B 1 H W"]:
    """Return the grey value of RGB pixels (ITU-R 601-2 weights); of images of one channel, that channel."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.split(1, dim=1)
    return (red * 0.2989).add_(green * 0.587).add_(blue * 0.114)


def grayscale(pixels: Float32[Tensor, "B 3 H W"], chosen: Bool[Tensor, " B"]) -> Float32[Tensor, "B 3 H W"]:
    """Return the chosen images without colour; the three channels are kept."""
    return torch.where(chosen[:, None, None, None], luminance(pixels), pixels)


def jitter(
    pixels: Float32[Tensor, "B C H W"],
    factors: Float32[Tensor, "B 4"],
    order: Int64[Tensor, "B 4"],
    active: tuple[bool, bool, bool, bool] = (True, True, True, True),
) -> Float32[Tensor, "B C H W"]:
    """Change brightness, contrast, saturation and hue, in each sample's order, and clamp after each.

    Saturation and hue need three channels.

    Args:
        pixels: Images in [0, 1].
        factors: Factors of brightness, contrast and saturation, and the shift of hue in turns (-0.5 to 0.5).
        order: `order[:, k]` is the operation that comes k-th.
        active: Operations that are executed; the others must have neutral factors.

    Returns:
        Images in [0, 1]; a sample with `NEUTRAL` factors is returned exactly.
    """
    for turn in order.unbind(1):
        if any(active[:HUE]):
            pixels = _blend(pixels, factors, turn)
        if active[HUE]:
            pixels = on_chosen(hue, pixels, factors[:, HUE], (turn == HUE) & (factors[:, HUE] != 0))
    return pixels


def _blend(pixels: Tensor, factors: Tensor, turn: Tensor) -> Tensor:
    """Brightness, contrast or saturation by turn: a blend with black, with the mean grey or with the grey image."""
    factor = factors.gather(1, turn[:, None])[:, 0].masked_fill(turn == HUE, 1.0)
    grey = luminance(pixels)
    # float64, so that any order of summation rounds to the same float32: torch sums one large image on several threads.
    mean = grey.mean((1, 2, 3), dtype=torch.float64).to(torch.float32)
    to_mean = (1.0 - factor) * (turn == CONTRAST) * mean
    to_grey = (1.0 - factor) * (turn == SATURATION)
    other = (grey * _per_image(to_grey)).add_(_per_image(to_mean))
    return (pixels * _per_image(factor)).add_(other).clamp_(0.0, 1.0)


def hue(pixels: Float32[Tensor, "B 3 H W"], shift: Float32[Tensor, " B"]) -> Float32[Tensor, "B 3 H W"]:
    """The hue of every pixel in [0, 1] moved by `shift` turns; the largest and smallest channel value are kept."""
    red, green, blue = pixels.unbind(1)
    most, least = red.maximum(green).maximum(blue), red.minimum(green).minimum(blue)
    chroma = most - least
    divisor = chroma.masked_fill(chroma == 0, 1.0)
    warm = torch.where(most == green, (blue - red) / divisor + 2.0, (red - green) / divisor + 4.0)
    sextant = torch.where(most == red, (green - blue) / divisor, warm).add_(6.0 * shift[:, None, None])
    sextant -= (sextant / 6.0).floor_() * 6.0
    # How far each channel lies below the largest one, in units of chroma: a trapezium over the six sextants.
    below = torch.stack([2.0 - (sextant - 3.0).abs_(), (sextant - 2.0).abs_() - 1.0, (sextant - 4.0).abs_() - 1.0], 1)
    return most[:, None] - below.clamp_(0.0, 1.0).mul_(chroma[:, None])


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]

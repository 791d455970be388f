"""Draw one random view of each image of a batch: the parameters from the counters, then every operation in turn.

Source: the view of image i numbered q depends on (seed, i, q) alone, the same for every encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from lpla.contracts.inputs import InputError, Views
from lpla.data.augment.blur import blur
from lpla.data.augment.boxes import ATTEMPTS, crop_boxes, whole_boxes
from lpla.data.augment.colour import NEUTRAL, grayscale, jitter, on_chosen
from lpla.data.augment.crop import resized_crop
from lpla.data.augment.draws import uniforms

AUGMENT_VERSION = 1
"""Raise it when a change of this package changes the views."""

# Every parameter has its own place among the draws, so that switching an operation leaves the others' draws alone.
# To change a place is to change every view: append instead.
_AREA = slice(0, ATTEMPTS)
_ASPECT = slice(ATTEMPTS, 2 * ATTEMPTS)
_CORNER = slice(20, 22)
_FLIP = 22
_JITTER = 23
_FACTORS = (24, 25, 26, 27)
_ORDER = slice(28, 32)
_GRAYSCALE = 32
_BLUR = 33
_SIGMA = 34
_COUNT = 35
_PIECE = 2**18
"""Values that a CPU takes at a time, so that they stay within its cache from one operation to the next."""


def augment(
    pixels: UInt8[Tensor, "B C H W"] | Float[Tensor, "B C H W"],
    spec: Views,
    seed: int,
    stream: Int64[Tensor, " B"],
    view: int | Int64[Tensor, " B"],
    backend: str | None = None,
) -> Float32[Tensor, "B C S T"]:
    """Make view number `view` of each image.

    The bits of a view depend on neither the size nor the order of the batch.

    Args:
        pixels: uint8, or floats in [0, 1], on the device of `stream`.
        spec: The augmentation; a crop scale and ratio of exactly (1, 1) mean no crop.
        seed: Seed of the draws.
        stream: Index of each image.
        view: Number of the view, of all images or of each.
        backend: Of torch.compile: the operations are fused, which may round differently; None: not compiled.

    Returns:
        Pixels in [0, 1], not standardised, `spec.size` square, or as large as the input.

    Raises:
        InputError: If `spec` cannot be applied to images of this shape.
    """
    check(spec, *pixels.shape[1:])
    draws = uniforms(seed, stream, view, _COUNT)
    make, images = _fused(backend) if backend else _views, max(1, _PIECE // pixels.shape[1:].numel())
    if pixels.device.type != "cpu" or len(pixels) <= images:
        return make(pixels, draws, spec)
    return torch.cat([make(*piece, spec) for piece in zip(pixels.split(images), draws.split(images), strict=True)])


@lru_cache(maxsize=2)
def _fused(backend: str) -> Callable[[Tensor, Tensor, Views], Tensor]:
    """One graph per specification and size of batch; the draws are arguments of it."""
    return torch.compile(_views, backend=backend, dynamic=False)


def _views(pixels: Tensor, draws: Tensor, spec: Views) -> Tensor:
    views = _frame(_unit(pixels), spec, draws)
    active = (spec.brightness > 0, spec.contrast > 0, spec.saturation > 0, spec.hue > 0)
    if spec.jitter > 0 and any(active):
        # Stable, so that two equal draws cannot be ordered differently by another device.
        order = draws[:, _ORDER].argsort(dim=1, stable=True)
        views = jitter(views, _factors(spec, draws), order, active)
    if spec.grayscale > 0:
        views = grayscale(views, draws[:, _GRAYSCALE] < spec.grayscale)
    if spec.blur > 0:
        views = on_chosen(blur, views, _between(draws[:, _SIGMA], *spec.blur_sigma), draws[:, _BLUR] < spec.blur)
    return views


def clean(
    pixels: UInt8[Tensor, "B C H W"] | Float[Tensor, "B C H W"], size: int | None = None
) -> Float32[Tensor, "B C S T"]:
    """The images themselves in [0, 1], resized (antialiased bilinear) to `size` square only if it is not their size.

    Raises InputError if `size` is not at least 1, or the pixels are neither uint8 nor floats.
    """
    whole = Views(size=size)
    check(whole, *pixels.shape[1:])
    return _frame(_unit(pixels), whole, pixels.new_zeros(len(pixels), _COUNT, dtype=torch.float32))


def _unit(pixels: Tensor) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels.to(torch.float32).div_(255.0)
    if not pixels.is_floating_point():
        raise InputError(f"pixels must be uint8, or floats in [0, 1], got {pixels.dtype}")
    # A copy: the caller may change a view in place, and must not thereby change the image.
    return pixels.to(torch.float32, copy=True)


def _frame(pixels: Tensor, spec: Views, draws: Tensor) -> Tensor:
    """Crop, flip and resize; nothing at all if the specification asks for none of them."""
    batch, _, height, width = pixels.shape
    size = (height, width) if spec.size is None else (spec.size, spec.size)
    crops = (*spec.crop_scale, *spec.crop_ratio) != (1.0, 1.0, 1.0, 1.0)
    if not crops and spec.flip == 0 and size == (height, width):
        return pixels
    if crops:
        parts = draws[:, _AREA], draws[:, _ASPECT], draws[:, _CORNER]
        boxes = crop_boxes(*parts, spec.crop_scale, spec.crop_ratio, (height, width))
    else:
        boxes = whole_boxes(batch, (height, width), pixels.device)
    return resized_crop(pixels, boxes, draws[:, _FLIP] < spec.flip, size)


def _factors(spec: Views, draws: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue [B, 4] as ColorJitter draws them; neutral where jitter is not chosen."""
    strengths = (spec.brightness, spec.contrast, spec.saturation)
    limits = [*((max(0.0, 1.0 - strength), 1.0 + strength) for strength in strengths), (-spec.hue, spec.hue)]
    chosen = draws[:, _JITTER] < spec.jitter
    columns = zip(_FACTORS, limits, NEUTRAL, strict=True)
    # Scalars, not a tensor of limits: to copy one to an accelerator is to wait for it.
    return torch.stack([torch.where(chosen, _between(draws[:, at], *ends), none) for at, ends, none in columns], 1)


def _between(draws: Tensor, low: float, high: float) -> Tensor:
    return draws * (high - low) + low


def check(spec: Views, channels: int, height: int, width: int) -> None:
    """Check that `spec` can be applied to images of this shape.

    Args:
        spec: The augmentation.
        channels: Number of channels of the images.
        height: Height in pixels.
        width: Width in pixels.

    Raises:
        InputError: If it cannot; the sentence names the setting.
    """
    _check_channels(spec, channels)
    side = min(height, width) if spec.size is None else spec.size
    if spec.blur > 0 and side < 2:
        raise InputError(f"blur must be 0 for views with a side of {side} pixel, got {spec.blur}")


def _check_channels(spec: Views, channels: int) -> None:
    needs = {"contrast": (1, 3), "saturation": (3,), "hue": (3,), "grayscale": (3,)}
    for name, allowed in needs.items():
        value = getattr(spec, name)
        if value > 0 and channels not in allowed:
            noun = "channel" if channels == 1 else "channels"
            raise InputError(f"{name} must be 0 for images of {channels} {noun}, got {value}")

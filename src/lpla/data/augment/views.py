"""What a declared augmentation must satisfy before it is drawn from.

Source: the conventions of torchvision's RandomResizedCrop, ColorJitter, RandomGrayscale and GaussianBlur.
"""

from __future__ import annotations

from math import inf

from lpla.contracts.inputs import InputError, Views


def check(spec: Views, channels: int, height: int, width: int) -> None:
    """Raise InputError, naming the setting, if `spec` cannot be applied to images of this shape (pixels)."""
    _check_ranges(spec)
    _check_numbers(spec)
    _check_channels(spec, channels)
    if spec.size is not None and spec.size < 1:
        raise InputError(f"size must be None or at least 1 pixel, got {spec.size}")
    side = min(height, width) if spec.size is None else spec.size
    if spec.blur > 0 and side < 2:
        raise InputError(f"blur must be 0 for views with a side of {side} pixel, got {spec.blur}")


def _check_ranges(spec: Views) -> None:
    for name, limit in (("crop_scale", 1.0), ("crop_ratio", inf), ("blur_sigma", inf)):
        low, high = getattr(spec, name)
        # Written so that a NaN fails too.
        if not (0 < low <= high <= limit and high < inf):
            end = " <= 1" if limit == 1.0 else ""
            raise InputError(f"{name} must satisfy 0 < low <= high{end}, got ({low}, {high})")


def _check_numbers(spec: Views) -> None:
    limits = dict.fromkeys(("flip", "jitter", "grayscale", "blur"), 1.0)
    limits |= dict.fromkeys(("brightness", "contrast", "saturation"), inf)
    for name, limit in {**limits, "hue": 0.5}.items():
        value = getattr(spec, name)
        if not (0 <= value <= limit and value < inf):
            expected = "at least 0 and finite" if limit == inf else f"between 0 and {limit:g}"
            raise InputError(f"{name} must be {expected}, got {value}")


def _check_channels(spec: Views, channels: int) -> None:
    needs = {"contrast": (1, 3), "saturation": (3,), "hue": (3,), "grayscale": (3,)}
    for name, allowed in needs.items():
        value = getattr(spec, name)
        if value > 0 and channels not in allowed:
            noun = "channel" if channels == 1 else "channels"
            raise InputError(f"{name} must be 0 for images of {channels} {noun}, got {value}")

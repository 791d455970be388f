"""What the images demand of a declared augmentation before it is drawn from; its numbers are checked by `Views`.

Source: the conventions of torchvision's RandomResizedCrop, ColorJitter, RandomGrayscale and GaussianBlur.
"""

from __future__ import annotations

from lpla.contracts.inputs import InputError, Views


def check(spec: Views, channels: int, height: int, width: int) -> None:
    """Raise InputError, naming the setting, if `spec` cannot be applied to images of this shape (pixels)."""
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

"""What an encoder is fed: images in [0, 1], resized, cropped and normalised by the rule of whoever trained it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import nearest

Interpolation = Literal["bilinear", "bicubic", "nearest"]
NORMALIZATIONS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "half": ((0.5,), (0.5,)),
    "none": ((0.0,), (1.0,)),
}
"""Means and standard deviations of the channels, by the names that target.normalize takes."""


@dataclass(frozen=True)
class InputRule:
    """How images become a network's input.

    `side`: of the square that the network is given, in pixels; None: whatever the images have.
    `resize`: what the shorter side is resized to before the centre is cropped; None: the whole image is resized.
    `mean` and `std`: of each channel, or one for all.
    `channels`: that the network takes; None: whatever the images have. Grey images are repeated where it takes 3.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int | None = None
    resize: int | None = None
    interpolation: Interpolation = "bilinear"
    channels: int | None = None

    def __call__(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D S T"]:
        """The network's input; raises InputError for images of another number of channels."""
        if self.channels == 3 and x.shape[1] == 1:
            x = x.expand(-1, 3, -1, -1)
        if self.channels not in (None, x.shape[1]):
            raise InputError(f"the encoder takes images of {self.channels} channels, got {x.shape[1]}")
        if self.side is not None:
            x = self._fitted(x, self.side)
        mean, std = (torch.tensor(values, device=x.device).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std

    def _fitted(self, x: Tensor, side: int) -> Tensor:
        """The square: resized with antialiasing, as Pillow does; a cubic kernel's overshoot is cut off, as there."""
        height, width = x.shape[2:]
        size = (side, side)
        if self.resize is not None:
            short = min(height, width)
            size = (self.resize * height // short, self.resize * width // short)
        if size != (height, width):
            kernel = {"mode": self.interpolation}
            if self.interpolation != "nearest":
                kernel |= {"antialias": True, "align_corners": False}
            x = F.interpolate(x, size=size, **kernel).clamp(0, 1)  # pyright: ignore[reportArgumentType]
        top, left = (round((there - side) / 2) for there in size)
        if min(top, left) < 0:
            raise InputError(f"target.resize must be at least target.side, {side}, got {self.resize}")
        return x[:, :, top : top + side, left : left + side]


def settled(file: str, own: Mapping[str, Any], asked: Mapping[str, Any]) -> InputRule:
    """The rule that a user has set, and where nothing was set the file's own.

    Args:
        file: its name, for messages.
        own: fields of the rule that the file's configuration says; may be none.
        asked: the settings side, resize, normalize, interpolation and channels; None: not set.

    Raises:
        InputError: neither says how images are normalised, or a setting is none.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    if "normalize" in given:
        given["mean"], given["std"] = normalization(given.pop("normalize"))
    rule = dict(own) | given
    if "side" in given and "resize" not in given:
        rule.pop("resize", None)  # the file's own belongs to its own side
    if "mean" not in rule:
        names = ", ".join(NORMALIZATIONS)
        needed = f"one of {names}, or [[means], [standard deviations]]"
        raise InputError(f"target.normalize must be {needed}: {file} does not say how its images were normalised")
    known = {field.name for field in fields(InputRule)}
    return InputRule(**{name: value for name, value in rule.items() if name in known})


def understood(file: Path, what: str, read: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of a rule that a configuration says.

    Args:
        file: the configuration's.
        what: it must be, for messages.
        read: what reads it, and fails in any way where a value is missing or of another kind.

    Raises:
        InputError: it is none.
    """
    try:
        found = dict(read())
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as unreadable:
        problem = f"{file} must be {what}, but cannot be read: {unreadable!r}"
        raise InputError(f"{problem}; move it away, or mend it") from unreadable
    for name in ("side", "resize"):
        if not isinstance(found.get(name, 1), int | None):
            raise InputError(f"{file} must be {what}, in whole pixels, got {name} {found[name]!r}")
    if "mean" in found:
        try:
            found["mean"], found["std"] = normalization((found["mean"], found["std"]))
        except InputError as unusable:
            raise InputError(f"{file} must be {what}: {unusable}") from unusable
    return found


def normalization(setting: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Means and standard deviations, of a name or of the two lists; raises InputError for anything else."""
    if isinstance(setting, str):
        if setting not in NORMALIZATIONS:
            names = ", ".join(NORMALIZATIONS)
            hint = nearest(setting, sorted(NORMALIZATIONS))
            raise InputError(f"target.normalize must be one of {names}, or two lists, got {setting}{hint}")
        mean, std = NORMALIZATIONS[setting]
        return tuple(mean), tuple(std)
    try:
        mean, std = (tuple(float(value) for value in values) for values in setting)
    except (TypeError, ValueError):
        mean, std = (), ()
    if not mean or len(mean) != len(std) or min(std) <= 0:
        raise InputError(
            f"target.normalize must be [[means], [standard deviations > 0]] of the channels, got {setting}"
        )
    return mean, std


def as_data(rule: InputRule) -> dict[str, Any]:
    """The rule as a key and a page have it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(rule).items()}


def of_timm(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that timm's pretrained_cfg says."""
    channels, side, _ = config["input_size"]
    crop = config.get("crop_pct") or 1.0
    found = {"mean": config["mean"], "std": config["std"], "interpolation": config["interpolation"]}
    resize = None if crop == 1.0 or config.get("crop_mode") == "squash" else int(side / crop)
    found = {name: tuple(value) if isinstance(value, (list, tuple)) else value for name, value in found.items()}
    return found | {"side": side, "resize": resize, "channels": channels}


def of_open_clip(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that OpenCLIP's preprocess_cfg says, its defaults filled in."""
    mean, std = NORMALIZATIONS["clip"]
    size = config.get("size", 224)
    side = size if isinstance(size, int) else size[0]
    found = {"mean": tuple(config.get("mean", mean)), "std": tuple(config.get("std", std)), "side": side}
    resize = side if config.get("resize_mode", "shortest") == "shortest" else None
    return found | {"resize": resize, "interpolation": config.get("interpolation", "bicubic"), "channels": 3}

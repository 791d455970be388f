"""Read a file of weights, by torch.save or safetensors, as training code leaves it: MoCo, DINO, lightly and others."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._input import of_open_clip
from lpla.encoders.target._weights import WeightsTarget

OPEN_CLIP = "open_clip_config.json"
"""The file in which OpenCLIP keeps the input rule, beside the weights."""


@checked
@dataclass(frozen=True, kw_only=True)
class Checkpoint(WeightsTarget):
    """The file, and its architecture as LIBRARY/NAME."""

    name: ClassVar[str] = "checkpoint"
    arch: str | None = None

    def own_rule(self) -> Mapping[str, Any]:
        """What OpenCLIP's configuration beside the file says, where there is one; weights alone say nothing."""
        config = self.weights().parent / OPEN_CLIP
        if not config.is_file():
            return {}
        try:
            said = json.loads(config.read_text())
            side = said.get("model_cfg", {}).get("vision_cfg", {}).get("image_size", 224)
            return of_open_clip({"size": side} | said["preprocess_cfg"])
        except (ValueError, KeyError, TypeError, AttributeError) as unreadable:
            problem = f"must be OpenCLIP's configuration with preprocess_cfg, but cannot be read: {unreadable!r}"
            raise InputError(f"{config} {problem}; move it away, or set target.normalize") from unreadable

    def architecture(self) -> str:
        """The setting."""
        if self.arch is None:
            known = "torchvision/resnet50, timm/vit_small_patch16_224 or the like"
            raise InputError(f"target.arch must be {known}, got nothing; `lpla inspect FILE` says what a file may be")
        return self.arch

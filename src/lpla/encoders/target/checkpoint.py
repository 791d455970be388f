"""Read a file of weights, by torch.save or safetensors, as training code leaves it: MoCo, DINO, lightly and others."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._input import of_open_clip, understood
from lpla.encoders.target._reading import read_json
from lpla.encoders.target._weights import WeightsTarget

OPEN_CLIP = "open_clip_config.json"
"""The file in which OpenCLIP keeps the input rule, beside the weights."""


@checked
@dataclass(frozen=True, kw_only=True)
class Checkpoint(WeightsTarget):
    """The file, and its architecture as LIBRARY/NAME."""

    name: ClassVar[str] = "checkpoint"
    names_architecture: ClassVar[str] = "target.arch"
    arch: str | None = None

    def own_rule(self) -> Mapping[str, Any]:
        """What OpenCLIP's configuration beside the file says, where there is one; weights alone say nothing."""
        config = self.weights().parent / OPEN_CLIP
        if not config.is_file():
            return {}
        said = read_json(config)

        def rule() -> dict[str, Any]:
            side = said.get("model_cfg", {}).get("vision_cfg", {}).get("image_size", 224)
            return of_open_clip({"size": side} | said["preprocess_cfg"])

        return understood(config, "OpenCLIP's configuration with preprocess_cfg", rule)

    def architecture(self) -> str:
        """The setting."""
        if self.arch is None:
            known = "torchvision/resnet50, timm/vit_small_patch16_224 or the like"
            raise InputError(f"target.arch must be {known}, got nothing; `lpla inspect FILE` says what a file may be")
        return self.arch

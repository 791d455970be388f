"""A file of weights, by torch.save or safetensors, as training code leaves it: MoCo's, DINO's, lightly's, others'."""

from dataclasses import dataclass
from typing import ClassVar

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._weights import WeightsTarget


@checked
@dataclass(frozen=True, kw_only=True)
class Checkpoint(WeightsTarget):
    """The file, and its architecture as LIBRARY/NAME."""

    name: ClassVar[str] = "checkpoint"
    arch: str | None = None

    def architecture(self) -> str:
        """The setting."""
        if self.arch is None:
            known = "torchvision/resnet50, timm/vit_small_patch16_224 or the like"
            raise InputError(f"target.arch must be {known}, got nothing; `lpla inspect FILE` says what a file may be")
        return self.arch

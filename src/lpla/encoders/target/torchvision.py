"""Read a file of weights of a torchvision classifier; `weights_name` names the entry that has its input rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._weights import WeightsTarget


@checked
@dataclass(frozen=True, kw_only=True)
class Torchvision(WeightsTarget):
    """torchvision's name of the model; `weights_name`, as IMAGENET1K_V2, only says how images are prepared.

    Nothing is downloaded: torchvision keeps the preparation with the names of its weights, and the file has none.
    """

    name: ClassVar[str] = "torchvision"
    model: str | None = None
    weights_name: str | None = None

    def architecture(self) -> str:
        """torchvision/NAME."""
        if not self.model:
            raise InputError("target.model must be torchvision's name of the model (resnet50 or the like), got nothing")
        return f"torchvision/{self.model}"

    def own_rule(self) -> Mapping[str, Any]:
        """What torchvision says of the weights that are named."""
        if self.weights_name is None or self.model is None:
            return {}
        from torchvision import models

        names = [entry.name for entry in models.get_model_weights(self.model)]
        if self.weights_name not in names:
            known = ", ".join(names)
            raise InputError(f"target.weights_name must be one of {known}, got {self.weights_name}")
        transform: Any = models.get_model_weights(self.model)[self.weights_name].transforms()
        rule = {"mean": tuple(transform.mean), "std": tuple(transform.std), "side": transform.crop_size[0]}
        return rule | {"resize": transform.resize_size[0], "interpolation": transform.interpolation.value}

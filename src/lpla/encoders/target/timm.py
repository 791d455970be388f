"""A model of timm: a file of weights, or a folder whose config.json has the input rule (pretrained_cfg)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._given import within
from lpla.encoders.target._input import of_timm, understood
from lpla.encoders.target._reading import existing, read_json
from lpla.encoders.target._weights import WeightsTarget

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@checked
@dataclass(frozen=True, kw_only=True)
class Timm(WeightsTarget):
    """timm's name of the model, as `timm.create_model` takes it; a folder's config.json says it as well.

    A name with a tag (resnet18.a1_in1k) brings that tag's input rule; a name without says nothing of a user's file.
    """

    name: ClassVar[str] = "timm"
    model: str | None = None

    def files(self) -> list[Path]:
        """The weights, and a folder's config.json."""
        config = self._config_file()
        return [self.weights(), *([config] if config else [])]

    def weights(self) -> Path:
        """The file itself, or a folder's file of weights."""
        path = existing(self.file, "a file of weights or a folder with config.json")
        if not path.is_dir():
            return path
        if (found := within(path, WEIGHTS)) is None:
            raise InputError(f"target.file must be a folder with {' or '.join(WEIGHTS)}, but {path} has neither")
        return found

    def architecture(self) -> str:
        """timm/NAME, of the setting or of the folder."""
        model = self.model or self._config().get("architecture")
        if not model:
            raise InputError("target.model must be timm's name of the model (resnet18 or the like), got nothing")
        return f"timm/{model}"

    def own_rule(self) -> Mapping[str, Any]:
        """The folder's pretrained_cfg, or that of the tag that the model's name has."""
        if (file := self._config_file()) and (found := self._config().get("pretrained_cfg")):
            return understood(file, "a configuration with timm's pretrained_cfg", lambda: of_timm(found))
        if self.model and "." in self.model:
            import timm

            found = timm.get_pretrained_cfg(self.model)
            return of_timm(found.to_dict()) if found else {}
        return {}

    def _config_file(self) -> Path | None:
        path = existing(self.file, "a file of weights or a folder with config.json")
        return within(path, ("config.json",)) if path.is_dir() else None

    def _config(self) -> dict[str, Any]:
        file = self._config_file()
        return read_json(file) if file else {}

"""Read a folder of Hugging Face transformers: config.json, weights, preprocessor_config.json with the input rule."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lpla.contracts.encoder import Encoder
from lpla.contracts.extras import missing_package
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._given import FileTarget, GivenEncoder, within
from lpla.encoders.target._input import InputRule, Interpolation, understood
from lpla.encoders.target._networks import of_tokens, pooled
from lpla.encoders.target._reading import check_weights, digest, existing, read_json

FILES = ("config.json", "model.safetensors", "pytorch_model.bin", "preprocessor_config.json")
RESAMPLING: dict[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers."""


@checked
@dataclass(frozen=True, kw_only=True)
class Huggingface(FileTarget):
    """The folder; `layer` is `pooled` (where its file holds a pooler), `cls`, `mean`, or a module's path.

    Nothing is downloaded and no code of the folder is run. A pooler that the file does not hold would be random, and is
    not offered. ViT-MAE masks nothing here, as its authors have it for embeddings.
    """

    name: ClassVar[str] = "huggingface"
    packages: ClassVar[tuple[str, ...]] = ("transformers",)

    def parts(self) -> dict[str, Any]:
        """As of every target: SHA-256 of the folder's files, what is read, and the input rule."""
        folder = self._folder()
        files = [folder / name for name in FILES if (folder / name).is_file()]
        files += [one for one in sorted(folder.glob("*.safetensors")) if one not in files]
        return self.identity(digest(files), self._rule())

    def build(self) -> GivenEncoder:
        """As of every target."""
        from safetensors import SafetensorError

        transformers, folder = _library(self.name), self._folder()
        for file in (*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")):
            check_weights(file)
        try:
            model, info = transformers.AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, output_loading_info=True, dtype=torch.float32
            )
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, UnpicklingError) as failed:
            said = " ".join(str(failed).split())[:200]
            raise InputError(f"target.file={folder} cannot be read by transformers: {said}") from failed
        missing = sorted(info["missing_keys"])
        if lacking := [name for name in missing if "pooler" not in name]:
            shown = ", ".join(lacking[:3])
            raise InputError(
                f"target.file={folder} must hold the whole model, but lacks {len(lacking)} tensors: {shown}"
            )
        ignored = ", ".join(sorted(info["unexpected_keys"])[:5]) or "nothing"
        return self._encoder(model, not missing, (f"ignored: {ignored}",))

    def blank(self) -> Encoder:
        """As of every target: of the configuration alone."""
        transformers = _library(self.name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(self._folder()))
        held = self._names()
        return self._encoder(model, not held or any("pooler" in name for name in held), ())

    def _encoder(self, model: Any, pooler: bool, notes: tuple[str, ...]) -> GivenEncoder:
        network = _HuggingFace(model.eval(), pooler)
        projector = self.projector or ("projection" if hasattr(model, "visual_projection") else None)
        return GivenEncoder(network, self._rule(), self.layer, projector=projector, notes=notes)

    def _names(self) -> list[str]:
        """Names of the tensors in the folder's file."""
        from safetensors import safe_open

        file = within(self._folder(), ("model.safetensors",))
        if file is None:
            return []
        with safe_open(file, "pt") as tensors:
            return list(tensors.keys())

    def _folder(self) -> Path:
        folder = existing(self.file, "a folder with config.json")
        if not folder.is_dir() or not (folder / "config.json").is_file():
            raise InputError(f"target.file must be a folder with config.json, got {folder}")
        if "pretrained_cfg" in read_json(folder / "config.json"):
            raise InputError(f"target=timm reads {folder}, whose config.json is timm's; target=huggingface does not")
        return folder

    def _rule(self) -> InputRule:
        folder = self._folder()
        file = folder / "preprocessor_config.json"
        own: Mapping[str, Any] = {}
        if file.is_file():
            said = read_json(file)
            own = understood(file, "a processor's configuration of images", lambda: of_processor(said))
        return self.settled_rule(folder.name, {"channels": 3} | own)


def of_processor(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an input rule that a preprocessor_config.json says.

    A square that the whole image is resized to, or a shorter side and a crop. Pixels that are not rescaled to [0, 1]
    have their mean and standard deviation rescaled instead.
    """
    found: dict[str, Any] = {}
    unit = 1 / 255 / (config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1)
    plain = not config.get("do_normalize", True)
    mean, std = ((0.0,), (1.0,)) if plain else (config.get("image_mean"), config.get("image_std"))
    if mean and std:
        found |= {"mean": tuple(value * unit for value in mean), "std": tuple(value * unit for value in std)}
    size, crop = _side(config.get("size")), _side(config.get("crop_size"))
    if config.get("do_resize", True) and size:
        found |= {"side": size}
    if config.get("do_center_crop") and crop:
        found |= {"side": crop, "resize": size}
    if config.get("resample") in RESAMPLING:
        found["interpolation"] = RESAMPLING[config["resample"]]
    return found


def _side(size: Any) -> int | None:
    """Read the side of a square, or the shorter side; raises InputError for other rectangles and for no number."""
    if size is None or isinstance(size, int):
        return size
    if not isinstance(size, Mapping):
        raise InputError(f"target.file must hold a model of square images, got {size!r}")
    sides = {value for name, value in size.items() if name in ("height", "width", "shortest_edge") and value}
    if len(sides) > 1:
        raise InputError(f"target.file must hold a model of square images, got {dict(size)}")
    return sides.pop() if sides else None


def _library(target: str) -> Any:
    try:
        import transformers  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise missing_package(f"target={target}", "transformers") from None
    return transformers


class _HuggingFace(nn.Module):
    """A model of transformers, or the image tower of one that has two."""

    def __init__(self, model: Any, pooler: bool) -> None:
        super().__init__()
        self.net = getattr(model, "vision_model", model)
        self.projection = getattr(model, "visual_projection", None)
        self.pooler = pooler
        if hasattr(self.net.config, "mask_ratio"):
            self.net.config.mask_ratio = 0.0
        self.noise = "noise" in inspect.signature(self.net.forward).parameters

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The pooler's vector where the file has one, and those of the tokens, or the mean of the last map."""
        more = {"noise": self._order(x)} if self.noise else {}
        answer = self.net(pixel_values=x, **more)
        hidden, whole = answer.last_hidden_state, answer.get("pooler_output")
        found = of_tokens(hidden, 1) if hidden.ndim == 3 else {"mean": pooled(hidden)}
        if whole is not None and self.pooler:
            found = {"pooled": whole.flatten(1)} | found
            if self.projection is not None:
                found["projection"] = self.projection(found["pooled"])
        return found

    def _order(self, x: Tensor) -> Tensor:
        """What ViT-MAE sorts its patches by: ascending, so that they keep their order."""
        patches = (x.shape[-1] // self.net.config.patch_size) ** 2
        return torch.arange(patches, dtype=x.dtype, device=x.device).expand(len(x), -1)

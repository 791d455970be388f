"""Call a function of your own, module:function, from images in [0, 1] to vectors; its module is imported and run."""

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lpla.contracts.encoder import Target
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._given import GivenEncoder
from lpla.encoders.target._input import InputRule, Interpolation, as_data
from lpla.encoders.target._reading import digest


@checked
@dataclass(frozen=True, kw_only=True)
class Python(Target):
    """The function, which is found as Python finds modules, the working directory first; it prepares images itself.

    Its weights are out of sight, so that what it answers stands for them: to two fixed images, beside its source file,
    and in the key of each statistic to the images that are asked about.
    """

    name: ClassVar[str] = "python"
    known_by_answers = True
    call: str | None = None
    side: int | None = None
    interpolation: Interpolation = "bilinear"
    channels: int = 3

    def parts(self) -> dict[str, Any]:
        """As of every target: SHA-256 of the source and of what it answers to two fixed images."""
        call = self._call()
        shape = (2, self.channels, *2 * (self.side or 32,))
        probe = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            try:
                answer = _Function(call, str(self.call))(probe)["pooled"].float().cpu().contiguous().numpy().tobytes()
            except RuntimeError as failed:
                why = f"target.call failed on images of {shape[2]} x {shape[3]} pixels ({failed})"
                raise InputError(f"{why}: target.side must be the side of the images that it takes") from failed
        source = _source_file(call)
        content = digest([source]) if source and source.is_file() else ""
        found = hashlib.sha256(content.encode() + answer).hexdigest()
        return {"name": self.name, "sha256": found, "input": as_data(self._rule())}

    def build(self) -> GivenEncoder:
        """As of every target."""
        return GivenEncoder(_Function(self._call(), str(self.call)), self._rule())

    def _rule(self) -> InputRule:
        return InputRule((0.0,), (1.0,), self.side, None, self.interpolation, self.channels)

    def _call(self) -> Callable[[Tensor], Any]:
        module, _, function = (self.call or "").partition(":")
        if not module or not function:
            raise InputError(f"target.call must be module:function, got {self.call or 'nothing'}")
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        try:
            found = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError) as missing:
            raise InputError(
                f"target.call must be module:function that Python finds, got {self.call}: {missing}"
            ) from missing
        if not callable(found):
            raise InputError(f"target.call must name a function, but {self.call} is {type(found).__name__}")
        return found


def _source_file(call: Callable[[Tensor], Any]) -> Path | None:
    """Where a function, or the class of an object that is called, is written; None where no file has it."""
    try:
        found = inspect.getsourcefile(call if inspect.isroutine(call) else type(call))
    except (TypeError, OSError):
        return None
    return Path(found) if found else None


class _Function(nn.Module):
    def __init__(self, call: Callable[[Tensor], Any], name: str) -> None:
        super().__init__()
        self.call, self.name = call, name
        if isinstance(call, nn.Module):
            self.net = call

    def forward(self, x: Tensor) -> Mapping[str, Tensor]:
        """What the function answers, under the name `pooled`; raises InputError if it is no vector for each image."""
        try:
            found = self.call(x)
        except (InputError, RuntimeError):  # of torch, as of a side that does not fit, of which others say more
            raise
        except Exception as failed:
            what = f"target.call={self.name} failed on images {list(x.shape)}"
            raise InputError(f"{what}: {type(failed).__name__}: {failed}") from failed
        must = f"target.call={self.name} must answer [B, D], a vector of two or more real numbers for each image"
        try:
            found = found if isinstance(found, Tensor) else torch.as_tensor(found)
        except (TypeError, ValueError, RuntimeError) as unusable:
            raise InputError(f"{must}, got {type(found).__name__}") from unusable
        if found.ndim != 2 or len(found) != len(x) or found.shape[1] < 2 or found.is_complex():
            raise InputError(f"{must}, got {found.dtype} {list(found.shape)} for {len(x)} images")
        return {"pooled": found.to(x.device)}

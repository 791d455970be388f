"""An ONNX model, run by onnxruntime on the CPU; its inputs and outputs say the side, the channels and the layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lpla.contracts.extras import missing_package
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._given import FileTarget, GivenEncoder
from lpla.encoders.target._input import InputRule
from lpla.encoders.target._networks import pooled
from lpla.encoders.target._reading import KINDS, digest, existing, kind_of

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@checked
@dataclass(frozen=True, kw_only=True)
class Onnx(FileTarget):
    """The model's file; `layer` is `pooled`, its first output, or an output's name, and so is `projector`."""

    name: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    def parts(self) -> dict[str, Any]:
        """As of every target: SHA-256 of the model and of the data beside it, what is read, and the input rule."""
        return self.identity(digest(self._files()), self._rule(self._network()))

    def build(self) -> GivenEncoder:
        """As of every target."""
        network = self._network()
        return GivenEncoder(network, self._rule(network), self.layer, projector=self.projector)

    def _files(self) -> list[Path]:
        """The model, and the file of large tensors beside it."""
        path = existing(self.file, "an ONNX model")
        beside = path.with_name(f"{path.name}.data")
        return [path, *([beside] if beside.exists() else [])]

    def _network(self) -> "_Onnx":
        try:
            import onnxruntime  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise missing_package(f"target={self.name}", "onnxruntime") from None
        path = self._files()[0]
        if (kind := kind_of(path)) != "onnx":
            raise InputError(f"target.file must be an ONNX model, but {path} is {KINDS[kind]}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as failed:
            said = " ".join(str(failed).split())
            hint = f"; its tensors are in {path.name}.data, which must lie beside it" if ".data" in said else ""
            raise InputError(f"target.file={path} cannot be run by onnxruntime: {said[:200]}{hint}") from failed
        return _Onnx(session, path)

    def _rule(self, network: "_Onnx") -> InputRule:
        if network.side and self.side not in (None, network.side):
            raise InputError(f"target.side must be {network.side}, the model's own, got {self.side}")
        return self.settled_rule(existing(self.file).name, {"side": network.side, "channels": network.channels})


class _Onnx(nn.Module):
    """A session: tensors [B, C, S, S] -> outputs by name; a model of a fixed batch is given full ones."""

    def __init__(self, session: Any, path: Path) -> None:
        super().__init__()
        first = session.get_inputs()[0]
        if first.type not in TYPES or len(first.shape) != 4 or len(session.get_inputs()) != 1:
            needed = "one input of float32 or float16 [B, C, H, W]"
            raise InputError(f"target.file must be a model with {needed}, but {path} takes {first.type} {first.shape}")
        batch, channels, side, _ = (size if isinstance(size, int) else None for size in first.shape)
        self.session, self.input, self.precision = session, first.name, TYPES[first.type]
        self.batch, self.channels, self.side = batch, channels, side
        self.outputs = [one.name for one in session.get_outputs()]

    def forward(self, x: Tensor) -> Mapping[str, Tensor]:
        """Every output, a map's mean over its positions; the first one is `pooled` too."""
        found = in_batches(x.cpu(), self.batch, self._run)
        vectors = {name: pooled(one.float()).to(x.device) for name, one in zip(self.outputs, found, strict=True)}
        return {"pooled": vectors[self.outputs[0]]} | vectors

    def _run(self, x: Tensor) -> list[Tensor]:
        given = x.contiguous().numpy().astype(self.precision)
        return [torch.from_numpy(np.asarray(one)) for one in self.session.run(None, {self.input: given})]


def in_batches(x: Tensor, size: int | None, run: Any) -> list[Tensor]:
    """The outputs of a program of a fixed batch, the last one filled with zeros; of any batch if `size` is None."""
    if size is None:
        return list(run(x))
    found = []
    for part in x.split(size):
        full = torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])])
        found.append([one[: len(part)] for one in run(full)])
    return [torch.cat(pieces) for pieces in zip(*found, strict=True)]

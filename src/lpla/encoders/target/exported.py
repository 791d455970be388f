"""Read a program of torch.export (.pt2) or of TorchScript; TorchScript runs code and needs target.run_code=true."""

import io
import json
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import checked
from lpla.encoders.target._given import FileTarget, GivenEncoder
from lpla.encoders.target._input import InputRule
from lpla.encoders.target._networks import pooled
from lpla.encoders.target._reading import KINDS, digest, existing, kind_of
from lpla.encoders.target.onnx import in_batches


@checked
@dataclass(frozen=True, kw_only=True)
class Exported(FileTarget):
    """The program's file; `layer` is `pooled`, its first output, or an output's number or key, and so is `projector`.

    `run_code`: a TorchScript file is a program that `torch.jit.load` runs; true says that its author is trusted. A .pt2
    is a graph of torch's operators; one that holds pickled objects beside it is refused.
    """

    name: ClassVar[str] = "exported"
    run_code: bool = False

    def parts(self) -> dict[str, Any]:
        """As of every target: the file's SHA-256, what is read, and the input rule."""
        return self.identity(digest([self._path()]), self._rule(self._network()))

    def build(self) -> GivenEncoder:
        """As of every target."""
        network = self._network()
        return GivenEncoder(network, self._rule(network), self.layer, projector=self.projector)

    def _path(self) -> Path:
        return existing(self.file, "a .pt2 or a TorchScript file")

    def _network(self) -> "_Program":
        path = self._path()
        kind = kind_of(path)
        if kind == "exported":
            return _exported(path)
        if kind != "torchscript":
            raise InputError(f"target.file must be a .pt2 or a TorchScript file, but {path} is {KINDS[kind]}")
        if not self.run_code:
            why = f"{path} is a TorchScript file, a program that loading runs: do so only if you trust its author"
            raise InputError(f"target.run_code must be true: {why}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, that torch.export has replaced TorchScript
            return _Program(torch.jit.load(path, map_location="cpu").eval(), None, None, None)

    def _rule(self, network: "_Program") -> InputRule:
        if network.side and self.side not in (None, network.side):
            raise InputError(f"target.side must be {network.side}, the program's own, got {self.side}")
        own = {"side": network.side, "channels": network.channels or 3}
        return self.settled_rule(self._path().name, own)


class _Program(nn.Module):
    """A program: tensors [B, C, S, S] -> its outputs by number or key; one of a fixed batch is given full ones."""

    def __init__(self, run: Any, batch: int | None, channels: int | None, side: int | None) -> None:
        super().__init__()
        self.run = run
        self.batch, self.channels, self.side = batch, channels, side
        self.names: list[str] = []

    def forward(self, x: Tensor) -> Mapping[str, Tensor]:
        """Every output, a map's mean over its positions; the first one is `pooled` too."""
        found = [pooled(one) for one in in_batches(x, self.batch, self._outputs)]
        return {"pooled": found[0]} | dict(zip(self.names, found, strict=True))

    def _outputs(self, x: Tensor) -> list[Tensor]:
        given = self.run(x.contiguous())
        named = (
            given
            if isinstance(given, Mapping)
            else dict(enumerate(given if isinstance(given, (tuple, list)) else [given]))
        )
        self.names = [str(name) for name, one in named.items() if isinstance(one, Tensor)]
        return [one.to(x.device) for one in named.values() if isinstance(one, Tensor)]


def _exported(path: Path) -> _Program:
    _refuse_pickles(path)
    try:
        program = torch.export.load(path)
    except (RuntimeError, ValueError, AssertionError, KeyError) as failed:
        said = " ".join(str(failed).split())[:200]
        raise InputError(
            f"target.file={path} cannot be read by torch.export of torch {torch.__version__}: {said}"
        ) from failed
    names = set(program.graph_signature.user_inputs)
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.name in names]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        found = [list(shape) for shape in shapes]
        raise InputError(f"target.file must be a program of one input [B, C, H, W], but {path} takes {found}")
    batch, channels, side, _ = (size if isinstance(size, int) else None for size in shapes[0])
    module = program.module(check_guards=False)
    # Behind a function, on the CPU: the module refuses train() and eval(), which a module within this one would get.
    return _Program(lambda x: module(x.cpu()), batch, channels, side)


def _refuse_pickles(path: Path) -> None:
    """Raise InputError if torch.export.load would unpickle more than tensors, which it does without being asked."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            content = archive.read(name) if not name.endswith(".so") else b""
            if name.endswith("_config.json") and '"use_pickle": true' in json.dumps(json.loads(content)):
                raise InputError(
                    f"target.file={path} holds pickled objects ({name}), which were refused: export it anew"
                )
            if content.startswith((b"PK\x03\x04", b"\x80")) and "sample_inputs" in name:
                try:
                    torch.load(io.BytesIO(content), weights_only=True)
                except (UnpicklingError, RuntimeError) as refused:
                    problem = f"target.file={path} would run code of {name}, which was refused: export it anew"
                    raise InputError(problem) from refused

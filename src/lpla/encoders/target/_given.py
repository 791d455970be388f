"""An encoder that somebody else trained: its input rule, its network and what is read of it, in one forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.encoder import Encoder, Target
from lpla.contracts.inputs import InputError
from lpla.contracts.result import nearest
from lpla.contracts.settings import Dimension
from lpla.encoders.target._input import InputRule, Interpolation, as_data, settled
from lpla.encoders.target._networks import pooled

BACKBONE, PROJECTOR = "backbone", "projector"
RULE = ("side", "resize", "normalize", "interpolation", "channels")
"""Settings of the input rule, which stands in a key as a whole."""
GIVEN_VERSION = 1
"""Raise it when a change here changes the embeddings of a given encoder."""


class GivenEncoder(Encoder):
    """A network behind its input rule; `backbone` is what `layer` reads of it, `projector` a head on that or a place.

    The network answers with whatever can be read, by name. A layer that is none of those names is a module's path, read
    where it is; `:cls` and `:mean` after it say which of its tokens.
    """

    def __init__(
        self,
        network: nn.Module,
        rule: InputRule,
        layer: str = "pooled",
        head: nn.Module | None = None,
        projector: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Args:
        network: images as `rule` makes them -> tensors [B, D] by name; its `net` holds the modules that paths name.
        rule: what the network is fed.
        layer: a name of the network's answer, or a module's path.
        head: what makes the layer `projector` of the layer `backbone`; None: nothing.
        projector: in place of a head, another layer to read; None: none.
        notes: sentences on how the encoder was found in its file.
        """
        super().__init__()
        if any(module.training for module in network.modules() if module is not network):
            notes = (*notes, "the model came in training mode and was put into evaluation mode")
        self.network, self.rule, self.head, self.notes = network, rule, head, notes
        self.reads = {BACKBONE: layer} | ({PROJECTOR: projector} if projector and head is None else {})
        self.layers = (BACKBONE, *([PROJECTOR] if head is not None or PROJECTOR in self.reads else []))
        self.eval()

    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """The embedding at each layer of images in [0, 1]; raises InputError for a layer that is not there."""
        taps: dict[str, Tensor] = {}
        handles = [self._tap(layer, taps) for layer in set(self.reads.values())]
        try:
            answers = self.network(self.rule(x))
        finally:
            for handle in filter(None, handles):
                handle.remove()
        found = {name: self._read(name, layer, answers, taps) for name, layer in self.reads.items()}
        return found if self.head is None else found | {PROJECTOR: self.head(found[BACKBONE])}

    def _tap(self, layer: str, taps: dict[str, Tensor]) -> Any:
        """Have a module keep its output, if the layer is one's path; put up anew in every pass, as modules move."""
        path = layer.partition(":")[0]
        module = dict(self._modules_by_path()).get(path)
        if module is None:
            return None

        def keep(_: nn.Module, __: object, output: Tensor) -> Tensor:
            taps[path] = output
            return output.view_as(output)  # another tensor, so that no batch norm is folded into what is read

        return module.register_forward_hook(keep)

    def _modules_by_path(self) -> Mapping[str, nn.Module]:
        net = getattr(self.network, "net", None)
        return {path: module for path, module in net.named_modules() if path} if isinstance(net, nn.Module) else {}

    def _read(self, name: str, layer: str, answers: Mapping[str, Tensor], taps: Mapping[str, Tensor]) -> Tensor:
        path, _, which = layer.partition(":")
        setting = "target.projector" if name == PROJECTOR else "target.layer"
        if layer in answers:
            return answers[layer]
        modules = self._modules_by_path()
        if path not in taps:
            shown = ", ".join([*answers]) + (" or a module's path" if modules else "")
            unused = ", a module that the network does not call"
            hint = unused if path in modules else nearest(layer, [*answers, *modules])
            raise InputError(f"{setting} must be {shown}, got {layer or 'nothing'}{hint}")
        found = taps[path]
        if found.ndim == 3 and which in ("cls", "mean"):
            return found[:, 0] if which == "cls" else found.mean(dim=1)
        if found.ndim not in (2, 4) or which:
            ways = f"tokens: write {path}:cls or {path}:mean" if found.ndim == 3 else f"{found.ndim}-dimensional"
            raise InputError(f"{setting} must be a vector or a map of each image, but {path} gives {ways}")
        return pooled(found)


@dataclass(frozen=True, kw_only=True)
class FileTarget(Target):
    """A target with a file, what is read of it, and the settings of its input rule, which the file's own go before.

    `side`, `resize`, `normalize` and `interpolation` are null where the file says them itself; `normalize` is a name
    (imagenet, clip, cifar10, cifar100, half, none) or [[means], [standard deviations]].
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    """What it imports beside the packages that lpla itself needs."""
    file: str | None = None
    layer: str = "pooled"
    projector: str | None = None
    side: Dimension | None = None
    resize: Dimension | None = None
    normalize: str | Sequence[Any] | None = None
    interpolation: Interpolation | None = None

    def settled_rule(self, file: str, own: Mapping[str, Any]) -> InputRule:
        """What the network is fed: these settings, and else what the file's configuration says.

        Raises InputError if neither says how images are normalised.
        """
        return settled(file, own, {name: getattr(self, name) for name in RULE if hasattr(self, name)})

    def identity(self, sha256: str, rule: InputRule) -> dict[str, Any]:
        """The parts of the key: the plug-in's name, its content, the rule, and other settings off their defaults."""
        given = {}
        for one in fields(self):
            default = one.default if one.default_factory is MISSING else one.default_factory()
            if one.name not in (*RULE, "file", "run_code") and (value := getattr(self, one.name)) != default:
                given[one.name] = value
        parts: dict[str, Any] = {"name": self.name, "sha256": sha256, "input": as_data(rule)}
        return parts | ({"with": given} if given else {}) | ({"version": GIVEN_VERSION} if GIVEN_VERSION != 1 else {})


def width(encoder: GivenEncoder, channels: int = 3) -> int:
    """The width of the layer `backbone`, of a pass over one blank image."""
    shape = (1, encoder.rule.channels or channels, *2 * (encoder.rule.side or 64,))
    with torch.inference_mode():
        return encoder.encode(torch.zeros(shape))[BACKBONE].shape[1]


def within(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of these files that a folder has."""
    return next((folder / name for name in names if (folder / name).is_file()), None)

"""A network of a known architecture, its weights from a file: strictly the backbone, and the file's own head."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from lpla.contracts.encoder import Encoder
from lpla.encoders.target import _networks
from lpla.encoders.target._given import FileTarget, GivenEncoder, width
from lpla.encoders.target._input import InputRule
from lpla.encoders.target._networks import Network, of_open_clip
from lpla.encoders.target._projectors import heads, own_head
from lpla.encoders.target._reading import check_tensors, digest, existing, read_weights
from lpla.encoders.target._state_dicts import Match, Tensors, choose, ignored, matches, state_dicts


@dataclass(frozen=True, kw_only=True)
class WeightsTarget(FileTarget):
    """A target whose file holds tensors alone, so that its architecture must be known.

    `prefix`: which of several networks in the file; `layer`: what is read as the layer `backbone`; `projector`: `auto`,
    the file's own projection head where it has one, null, a head's path in the file, or a module's in the network.
    """

    names_architecture: ClassVar[str] = "target.model"
    """The setting that does, for messages."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    stem: Literal["own", "cifar", "solo"] = "own"
    prefix: str | None = None
    projector: str | None = "auto"
    channels: Literal[1, 3] | None = None

    @abstractmethod
    def architecture(self) -> str:
        """LIBRARY/NAME; raises InputError where no setting and no file says it."""

    def parts(self) -> dict[str, Any]:
        """As of every target: the file's SHA-256, the architecture, what is read, and the input rule."""
        return self.identity(digest(self.files()), self.rule())

    def files(self) -> list[Path]:
        """What the encoder's identity is made of."""
        return [existing(self.file)]

    def weights(self) -> Path:
        """The file that holds the tensors."""
        return existing(self.file)

    def own_rule(self) -> Mapping[str, Any]:
        """The fields of the input rule that the file's configuration says: none, in a file of weights alone."""
        return {}

    def rule(self) -> InputRule:
        """What the network is fed."""
        own = {"channels": self.channels or 3} | dict(self.own_rule())
        return self.settled_rule(self.weights().name, own)

    def network(self) -> Network:
        """The architecture with random weights, the same ones at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            named = self.architecture(), self.channels, self.arguments, self.stem
            return _networks.build(*named, setting=self.names_architecture)

    def build(self) -> GivenEncoder:
        """As of every target; strict on the backbone, what else the file holds is listed in the encoder's notes."""
        return self._build(load=True)

    def blank(self) -> Encoder:
        """As of every target; the file says which network and which head there are."""
        return self._build(load=False)

    def _build(self, load: bool) -> GivenEncoder:
        rule, (network, tensors, match, why) = self.rule(), self._matched()
        rule = replace(rule, side=rule.side or network.side)
        names = _networks.shapes(network)
        if load:
            load_strictly(network, tensors, match.prefix)
        notes = (why, f"ignored: {', '.join(ignored(tensors, match, names)) or 'nothing'}")
        encoder = GivenEncoder(network, rule, self.layer, notes=notes)
        if self.projector is None:
            return encoder
        found = heads(tensors, {match.prefix + name for name in names}, width(encoder))
        named = next((one for one in found if one.path == self.projector.rstrip(".")), None)
        if head := own_head(found, match) if self.projector == "auto" else named:
            module = head.module() if load else _blank(head.module())
            notes = (*notes, f"the projector is {head.described()}")
            return GivenEncoder(network, rule, self.layer, module, notes=notes)
        if self.projector == "auto":
            return encoder
        return GivenEncoder(network, rule, self.layer, projector=self.projector, notes=notes)

    def _matched(self) -> tuple[Network, Tensors, Match, str]:
        """The network without its weights, the file's state dict, where in it they are, and why there."""
        file, arch = self.weights(), self.architecture()
        network = self.network()
        saved = read_weights(file)
        if arch.startswith("timm/"):
            saved = of_open_clip(saved, network)
        in_sequence = _networks.numbered(network)
        found = matches(saved, _networks.shapes(network), _networks.shapes(in_sequence))
        match, why = choose(found, self.prefix, arch, file.name, self.names_architecture)
        tensors = dict(state_dicts(saved))[match.container]
        return (in_sequence if match.numbered and in_sequence else network), tensors, match, why


def load_strictly(network: Network, tensors: Mapping[str, torch.Tensor], prefix: str) -> None:
    """Give a network its tensors from below a prefix, every one of them; counters of batch norms may be missing."""
    state = network.net.state_dict()
    given = {name: tensors.get(prefix + name, state[name]) for name in state}
    check_tensors(given, state)
    network.net.load_state_dict(given)


def _blank(head: nn.Module) -> nn.Module:
    """The same layers with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for layer in head.children():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()  # pyright: ignore[reportCallIssue]
    return head

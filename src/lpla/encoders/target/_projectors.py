"""The projection head beside a backbone in the same file, rebuilt from the names and shapes of its tensors.

The methods' heads are sequences of linear layers, batch norms and activations, so that numbers in names are places in
the sequence and a number without a tensor is an activation: ReLU, and GELU in DINO's heads, as their authors have it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lpla.encoders.target._state_dicts import Match, Tensors

WORDS = ("projector", "projection_head", "projection", "dino_head", "head")
"""What projection heads are called beside a backbone, the usual names first."""
QUERY = ("encoder_q", "base_encoder", "encoder")
"""Last name of the prefixes whose `fc` or `head` is the method's projection head and no classifier."""
CLASSIFIERS = ("fc", "head", "heads")
STEP = re.compile(r"(?P<head>.+\.)(?P<place>\d+)\.(?P<leaf>weight|bias|running_mean|running_var)")
SINGLE = re.compile(r"(?P<head>.+\.)(?P<leaf>weight|bias)")


@dataclass(frozen=True)
class Head:
    """A sequence of layers of a file: where it stands, and its tensors by place and name."""

    path: str
    steps: Mapping[int, Mapping[str, Tensor]]
    gelu: bool

    @property
    def width(self) -> int:
        """Width of the embedding that it is given."""
        return self.steps[min(self.steps)]["weight"].shape[1]

    def module(self) -> nn.Sequential:
        """The layers with their weights."""
        layers: list[nn.Module] = []
        for place in range(max(self.steps) + 1):
            if place in self.steps:
                layers.append(_layer(self.steps[place], self.steps[min(self.steps)]["weight"].dtype))
            elif layers and not isinstance(layers[-1], (nn.ReLU, nn.GELU)):
                layers.append(nn.GELU() if self.gelu else nn.ReLU())
        return nn.Sequential(*layers).float().eval()

    def described(self) -> str:
        """Its path and widths, in words."""
        widths = [step["weight"].shape for step in self.steps.values() if "weight" in step and step["weight"].ndim == 2]
        shown = " to ".join(map(str, [widths[0][1], *(one[0] for one in widths)]))
        between = f", {'GELU' if self.gelu else 'ReLU'} between" if len(widths) > 1 else ""
        return f"{self.path} ({shown}{between})"


def _layer(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> nn.Module:
    weight = tensors.get("weight")
    if weight is not None and weight.ndim == 2:
        layer: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in tensors, dtype=dtype)
    elif "running_mean" in tensors:
        layer = nn.BatchNorm1d(len(tensors["running_mean"]), affine=weight is not None, dtype=dtype)
    else:
        assert weight is not None
        layer = nn.LayerNorm(len(weight), dtype=dtype)
    layer.load_state_dict(dict(tensors), strict=False)
    return layer


def heads(tensors: Tensors, used: set[str], width: int | None = None) -> list[Head]:
    """Every sequence of layers of a state dict that can be a head of an embedding of `width`.

    Args:
        tensors: the state dict.
        used: names of the backbone's tensors, with their prefix.
        width: of the backbone's embedding; None: whatever it is.
    """
    steps: dict[str, dict[int, dict[str, Tensor]]] = {}
    for name, tensor in tensors.items():
        if name in used:
            continue
        if found := STEP.fullmatch(name):
            steps.setdefault(found["head"], {}).setdefault(int(found["place"]), {})[found["leaf"]] = tensor
        elif found := SINGLE.fullmatch(name):
            steps.setdefault(found["head"], {}).setdefault(0, {})[found["leaf"]] = tensor
    found = []
    for path, layers in steps.items():
        first = layers[min(layers)].get("weight")
        if (
            first is not None
            and first.ndim == 2
            and width in (None, first.shape[1])
            and all(map(_known, layers.values()))
        ):
            gelu = ".mlp." in path or any(name.startswith(_parent(path) + "last_layer.") for name in tensors)
            found.append(Head(path.rstrip("."), dict(sorted(layers.items())), gelu))
    return found


def _known(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a layer is one of those that heads are made of."""
    weight = tensors.get("weight")
    return "running_mean" in tensors or (weight is not None and weight.ndim in (1, 2))


def _parent(path: str) -> str:
    return path.rstrip(".").rpartition(".")[0] + "."


def own_head(found: Sequence[Head], match: Match) -> Head | None:
    """The head that was trained on the backbone's embedding; None where none is known to be it.

    A `fc` within a network is the projection head where the prefix is a query encoder's, and otherwise a classifier.
    """
    prefix = match.prefix.rstrip(".")
    above, _, last = prefix.rpartition(".")
    outer = f"{above}." if above else ""
    side = last.removesuffix("backbone").removesuffix("encoder")  # of student_backbone: student_
    inner = f"{prefix}." if prefix else ""
    names = [f"{inner}{word}" for word in CLASSIFIERS] if last in QUERY else []
    places = (f"{outer}{side}", outer, inner)
    names += [f"{place}{word}{end}" for place in places for word in WORDS for end in ("", ".layers", ".mlp")]
    usable = [one for one in found if len(one.steps) > 1 or last in QUERY or one.path.split(".")[-1] not in CLASSIFIERS]
    by_path = {one.path: one for one in usable}
    return next((by_path[name] for name in names if name in by_path), None)

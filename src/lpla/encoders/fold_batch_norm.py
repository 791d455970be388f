"""Batch norm folded into the layer before it, for inference (Jacob et al., arXiv 1712.05877, section 3.2).

In evaluation a batch norm is an affine map of each channel, and so is part of the convolution or linear layer whose
output it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

FOLD_VERSION = 1
"""Raise it when a change here changes the embeddings."""
Layer = nn.Conv2d | nn.Linear


@contextmanager
def folded(network: nn.Module, forward: Callable[[], object]) -> Iterator[None]:
    """Within, `network` (in evaluation mode) answers without its batch norms; its convolutions are channels_last.

    `forward` asks it once, for example with zeros: a batch norm is folded if it is given a layer's very output. The
    layers stand aside meanwhile, untouched, and are put back.
    """
    pairs = _pairs(network, forward)
    instead: dict[nn.Module, nn.Module] = {norm: nn.Identity() for norm in pairs}
    instead |= {layer: _fold(layer, norm) for norm, layer in pairs.items()}
    places = [(m, name, child) for m in network.modules() for name, child in m._modules.items() if child in instead]
    try:
        for parent, name, child in places:
            setattr(parent, name, instead[child])
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)


def _pairs(network: nn.Module, forward: Callable[[], object]) -> dict[_BatchNorm, Layer]:
    """The batch norms that can be folded, each with its layer, both used once in a forward pass."""
    made: dict[int, tuple[Layer, Tensor, int]] = {}
    pairs: dict[_BatchNorm, Layer] = {}
    uses: Counter[nn.Module] = Counter()

    def note(layer: Layer, _: object, output: Tensor) -> None:
        uses[layer] += 1
        # With the output itself, so that no later one gets its address; its version tells of changes in place.
        made[id(output)] = layer, output, output._version

    def look(norm: _BatchNorm, given: tuple[Tensor]) -> None:
        uses[norm] += 1
        layer, output, version = made.get(id(given[0]), (None, given[0], 0))
        if layer is not None and output._version == version:
            pairs[norm] = layer

    modules = list(network.modules())
    if not any(isinstance(one, _BatchNorm) for one in modules):
        return {}
    hooks = [m.register_forward_hook(note) for m in modules if type(m) in (nn.Conv2d, nn.Linear) and _plain(m)]
    norms = [m for m in modules if isinstance(m, _BatchNorm) and m.running_var is not None]
    hooks += [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return {norm: layer for norm, layer in pairs.items() if uses[norm] == uses[layer] == 1}


def _plain(layer: nn.Module) -> bool:
    """Whether its weight is a parameter, not computed from others (weight norm)."""
    return "weight" in dict(layer.named_parameters(recurse=False))


def _fold(layer: Layer, norm: _BatchNorm) -> Layer:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = (variance.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight.double()
    bias = -mean.double() if layer.bias is None else layer.bias.double() - mean.double()
    bias = bias * scale if norm.bias is None else bias * scale + norm.bias.double()
    weight = layer.weight.double() * scale.view(-1, *[1] * (layer.weight.ndim - 1))
    made = deepcopy(layer)
    vars(made).pop("forward", None)  # what training may have put there, whose rounding is another
    made.weight, made.bias = (nn.Parameter(x.to(layer.weight.dtype), requires_grad=False) for x in (weight, bias))
    return made.to(memory_format=torch.channels_last) if isinstance(made, nn.Conv2d) else made

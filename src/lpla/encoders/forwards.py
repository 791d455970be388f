"""Another forward for some modules, for a while: an attribute of each, not a wrapper, which would rename its state.

Compiled backbones are such: one graph per family of encoders (torch.compile, Ansel et al., ASPLOS 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lpla.contracts.encoder import Backbone, Encoder


@contextmanager
def forwards(others: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Within, each module has its other forward; afterwards the one that it had before."""
    before = {module: vars(module)["forward"] for module in others if "forward" in vars(module)}
    for module, forward in others.items():
        module.forward = forward
    try:
        yield
    finally:
        for module in others:
            del module.forward
        for module, forward in before.items():
            module.forward = forward


def contained(encoder: nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """Within, on a CPU, narrow strided 1 x 1 convolutions of `encoder` read their input by channels, not by pixels.

    In their backward pass oneDNN 3.12 writes beyond its memory where input with fewer than 16 channels is channels-last
    (8 channels: maps from 48 x 48 on). The values, and by one thread the bits, are the same either way.
    """
    found = [one for one in encoder.modules() if isinstance(one, nn.Conv2d) and _overflows(one)]
    return forwards({one: _by_channels(one) for one in found} if device.type == "cpu" else {})


def _overflows(layer: nn.Conv2d) -> bool:
    return layer.in_channels < 16 and set(layer.kernel_size) == {1} and max(layer.stride) > 1 and layer.groups == 1


def _by_channels(layer: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    def forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
        # Both must be: a weight of 1 x 1 that is channels-last by its strides takes input and gradient along.
        weight = layer.weight.flatten(1).unflatten(1, (-1, 1, 1))
        found = functional.conv2d(x.contiguous(), weight, layer.bias, layer.stride, layer.padding, layer.dilation)
        return found.contiguous(memory_format=torch.channels_last)

    # A method, so that a copy of the layer (one with a batch norm folded in) reads its own weight.
    return MethodType(forward, layer)


def backend_on(device: torch.device, compile_on_cuda: bool) -> str | None:
    """What compiles there, if so wished: on a CPU nothing does."""
    return "inductor" if compile_on_cuda and device.type == "cuda" else None


def compiled(encoder: Encoder, backend: str | None, training: bool = True) -> AbstractContextManager[None]:
    """Run the backbones of an encoder compiled for a while.

    torch keeps a graph with the code of the class, and weights are arguments of it: the next encoder of the same
    settings and batch finds it. After 8 graphs of one class torch warns, and what is new to it runs uncompiled.

    Args:
        encoder: The encoder, whose backbones are compiled.
        backend: Of torch.compile; None: nothing changes.
        training: Whether they run compiled in training, or only out of it.

    Returns:
        A context within which they do.
    """
    networks = [child for child in encoder.children() if isinstance(child, Backbone)]
    return forwards({network: _compiled_in(training, network, backend) for network in networks} if backend else {})


def _compiled_in(training: bool, network: Backbone, backend: str) -> Callable[[Tensor], Tensor]:
    usual = MethodType(type(network).forward, network)  # not the one that training may have put there
    fast = torch.compile(usual, backend=backend, dynamic=False)
    return lambda x: fast(x) if network.training == training else usual(x)

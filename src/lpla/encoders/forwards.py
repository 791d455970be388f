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


def backend_on(device: torch.device, compile_on_cuda: bool) -> str | None:
    """What compiles there, if so wished: on a CPU nothing does."""
    return "inductor" if compile_on_cuda and device.type == "cuda" else None


def compiled(encoder: Encoder, backend: str | None, training: bool = True) -> AbstractContextManager[None]:
    """Within, and with a `backend`, backbones of `encoder` run compiled in training (or only out of it), else as ever.

    torch keeps a graph with the code of the class, and weights are arguments of it: the next encoder of the same
    settings and batch finds it. After 8 graphs of one class torch warns, and what is new to it runs uncompiled.
    """
    networks = [child for child in encoder.children() if isinstance(child, Backbone)]
    return forwards({network: _compiled_in(training, network, backend) for network in networks} if backend else {})


def _compiled_in(training: bool, network: Backbone, backend: str) -> Callable[[Tensor], Tensor]:
    usual = MethodType(type(network).forward, network)  # not the one that training may have put there
    fast = torch.compile(usual, backend=backend, dynamic=False)
    return lambda x: fast(x) if network.training == training else usual(x)

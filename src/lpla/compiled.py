"""Compiled backbones: one graph per family of encoders (torch.compile, Ansel et al., ASPLOS 2024)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import MethodType

import torch
from torch import Tensor

from lpla.contracts import Arch, Backbone
from lpla.forwards import forwards


def backend_on(device: torch.device, compile_on_cuda: bool) -> str | None:
    """What compiles there, if so wished: on a CPU nothing does."""
    return "inductor" if compile_on_cuda and device.type == "cuda" else None


def compiled(arch: Arch, backend: str | None, training: bool = True) -> AbstractContextManager[None]:
    """Within, and with a `backend`, the backbones of `arch` run compiled in training (or only out of it), else as ever.

    torch keeps a graph with the code of the class, and weights are arguments of it: the next encoder of the same
    settings and batch finds it. After 8 graphs of one class torch warns, and what is new to it runs uncompiled.
    """
    networks = [child for child in arch.children() if isinstance(child, Backbone)]
    return forwards({network: _compiled_in(training, network, backend) for network in networks} if backend else {})


def _compiled_in(training: bool, network: Backbone, backend: str) -> Callable[[Tensor], Tensor]:
    usual = MethodType(type(network).forward, network)  # not the one that training may have put there
    fast = torch.compile(usual, backend=backend, dynamic=False)
    return lambda x: fast(x) if network.training == training else usual(x)

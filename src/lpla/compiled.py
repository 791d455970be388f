"""Backbones compiled for training: one graph per family of encoders (torch.compile, Ansel et al., ASPLOS 2024)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from lpla.contracts import Arch, Backbone
from lpla.forwards import forwards


def compiled(arch: Arch, backend: str = "inductor") -> AbstractContextManager[None]:
    """Within, the backbones of `arch` run compiled while they train, and as ever in evaluation and afterwards.

    torch keeps a graph with the code of the class, and weights are arguments of it: the next encoder of the same
    settings and batch finds it. After 8 graphs of one class torch warns, and what is new to it runs uncompiled.
    """
    networks = [child for child in arch.children() if isinstance(child, Backbone)]
    return forwards({network: _compiled_in_training(network, backend) for network in networks})


def _compiled_in_training(network: Backbone, backend: str) -> Callable[[Tensor], Tensor]:
    usual = network.forward
    fast = torch.compile(usual, backend=backend, dynamic=False)
    return lambda x: fast(x) if network.training else usual(x)

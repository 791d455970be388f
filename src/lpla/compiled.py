"""Backbones compiled for training: one graph per family of encoders (torch.compile, Ansel et al., ASPLOS 2024)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lpla.contracts import Arch, Backbone


@contextmanager
def compiled(arch: Arch, backend: str = "inductor") -> Iterator[None]:
    """Within, the backbones of `arch` run compiled while they train, and as ever in evaluation and afterwards.

    torch keeps a graph with the code of the class, and weights are arguments of it: the next encoder of the same
    settings and batch finds it. After 8 graphs of one class torch warns, and what is new to it runs uncompiled.
    """
    networks = [child for child in arch.children() if isinstance(child, Backbone)]
    for network in networks:
        # An attribute of the object, not a wrapper around it, which would rename its state.
        network.forward = _compiled_in_training(network, backend)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for network in networks:
            del network.forward


def _compiled_in_training(network: Backbone, backend: str) -> Callable[[Tensor], Tensor]:
    usual = network.forward
    fast = torch.compile(usual, backend=backend, dynamic=False)
    return lambda x: fast(x) if network.training else usual(x)

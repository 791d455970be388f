"""Slow copies: networks that follow the trained ones by an exponential average (mean teacher, arXiv 1703.01780)."""

from copy import deepcopy
from math import cos, pi
from typing import TypeVar

from torch import nn

SLOW_COPY_VERSION = 1
"""Raise it when a change here changes the weights."""
Network = TypeVar("Network", bound=nn.Module)


def slow_copy(network: Network) -> Network:
    """A copy that no optimiser moves."""
    copy = deepcopy(network)
    copy.requires_grad_(False)
    return copy


def update_momentum(network: nn.Module, copy: nn.Module, momentum: float) -> None:
    """Move the parameters of the copy towards those of the network; it keeps the share `momentum` of its own."""
    from lightly.models import utils

    utils.update_momentum(network, copy, momentum)


def cosine_momentum(momentum: float, final_momentum: float, progress: float) -> float:
    """The share that a slow copy keeps of itself: half a cosine from `momentum` to `final_momentum` over training."""
    return final_momentum - (final_momentum - momentum) * (cos(pi * progress) + 1) / 2

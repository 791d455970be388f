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
    """Move the parameters of a slow copy towards those of the network that it follows.

    Args:
        network: the network that is trained.
        copy: its slow copy.
        momentum: the share that the copy keeps of its own parameters, from 0 to 1.
    """
    from lightly.models import utils

    utils.update_momentum(network, copy, momentum)


def cosine_momentum(momentum: float, final_momentum: float, progress: float) -> float:
    """Calculate the share that a slow copy keeps of itself: half a cosine over training.

    Args:
        momentum: the share at the beginning.
        final_momentum: the share at the end.
        progress: the part of training that is done, from 0 to 1.
    """
    return final_momentum - (final_momentum - momentum) * (cos(pi * progress) + 1) / 2

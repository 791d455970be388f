"""Slow copies: networks that follow the trained ones by an exponential average (mean teacher, arXiv 1703.01780)."""

from copy import deepcopy
from math import cos, pi
from typing import TypeVar

from lightly.models.utils import deactivate_requires_grad
from torch import nn

SLOW_COPY_VERSION = 1
"""Raise it when a change here changes the weights."""
Network = TypeVar("Network", bound=nn.Module)


def slow_copy(network: Network) -> Network:
    """A copy that no optimiser moves."""
    copy = deepcopy(network)
    deactivate_requires_grad(copy)
    return copy


def cosine_momentum(momentum: float, final_momentum: float, progress: float) -> float:
    """The share that a slow copy keeps of itself: half a cosine from `momentum` to `final_momentum` over training."""
    return final_momentum - (final_momentum - momentum) * (cos(pi * progress) + 1) / 2

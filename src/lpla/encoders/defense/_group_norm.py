"""Group norm in the place of batch norm (Wu & He, arXiv 1803.08494), as batch norm's statistics are of many images."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

GROUP_NORM_VERSION = 1
"""Raise it when a change here changes the weights."""
MOST_GROUPS = 32
FEWEST_CHANNELS = 8
"""Channels in a group: with few of them, and without positions, little but the sign of a feature would be left."""


def replace_batch_norms(network: nn.Module) -> int:
    """Replace every batch norm below `network` by a group norm with its weights, in place; return how many there were.

    Batch norm mixes images in training, and releases running statistics of them without noise.
    """
    replaced = 0
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                setattr(parent, name, _group_norm(child))
                replaced += 1
    return replaced


def _group_norm(norm: _BatchNorm) -> nn.GroupNorm:
    channels = norm.num_features
    fits = range(1, max(1, min(MOST_GROUPS, channels // FEWEST_CHANNELS)) + 1)
    groups = max(one for one in fits if channels % one == 0)
    made = nn.GroupNorm(groups, channels, norm.eps, norm.affine)
    for name, weight in norm.named_parameters(recurse=False):
        # The very tensors: a slow copy's take no gradient.
        made.register_parameter(name, weight)
    return made.train(norm.training)

"""Make a framework one that clipped groups can train: how many images a group has, and no batch norm.

Group norm (Wu & He, arXiv 1803.08494) stands in the place of batch norm, as batch norm's statistics are of many images.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError

GROUP_NORM_VERSION = 1
"""Raise it when a change here changes the weights."""
MOST_GROUPS = 32
FEWEST_CHANNELS = 8
"""Channels in a group: with few of them, and without positions, little but the sign of a feature would be left."""
GROUP_SIZE = 8
"""Images in a group where the loss compares images; where it does not, each image is clipped by itself."""


def group_size_for(arch: Arch, asked: int | None) -> int:
    """Return how many images a group has.

    Args:
        arch: The framework that is trained.
        asked: The setting; None: 1 if the loss is a mean over images of a loss of each alone, else GROUP_SIZE.

    Returns:
        Number of images whose gradient is clipped together.

    Raises:
        InputError: If clipping groups of the framework would not bound what an image changes, or single images would
            not.
    """
    name = type(arch).__module__.rpartition(".")[2]
    if arch.beyond_group:
        raise InputError(f"defense=dp cannot train arch={name}: {arch.beyond_group}, so that no epsilon would hold")
    if asked is None:
        return GROUP_SIZE if arch.compares else 1
    if asked == 1 and arch.compares:
        raise InputError(
            f"defense.group_size must be at least 2 under arch={name}, whose loss compares images, got 1: an image "
            "also stands in the gradients of the others, so that clipping each image's gradient does not bound what "
            "one image changes, and the epsilon would be wrong"
        )
    return asked


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

"""Which frameworks can be trained by clipped groups, and by how many images in a group."""

from __future__ import annotations

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError

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

"""A configured defence of a training: what it is part of, whether it can be used so, what it needs beside members."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hydra.utils import get_class

from lpla.contracts.defense import Defense, Privacy, Training
from lpla.contracts.encoder import Arch, Encoder
from lpla.contracts.inputs import Images, InputError
from lpla.training.defended import Defended
from lpla.work import keys
from lpla.work.plug_in import Config, plug_in

NO_DEFENSE: Config = {"_target_": "lpla.encoders.defense.none.Identity"}
ON_ONE_DEVICE = frozenset({"batches", "gradients"})
"""Hooks that see a whole batch, of which several ranks have a share each."""


def distils(defense: Config) -> bool:
    """Return whether the encoder is a student of the one that is trained on the members."""
    return get_class(defense["_target_"]).distils


def ends_training(defense: Config) -> bool:
    """Return whether the defence may end a training before its last epoch."""
    return "stops" in keys.overridden(get_class(defense["_target_"]))


def check(defense: Config, arch: Arch, training: Training, distributed: bool) -> None:
    """Raise InputError where the defence cannot be used in this training.

    Args:
        defense: the plug-in.
        arch: the framework, prepared.
        training: the numbers of the training.
        distributed: whether several processes train the encoder together.

    Raises:
        InputError: the defence's own, or for several devices where it works on one alone.
    """
    kind = get_class(defense["_target_"])
    if distributed and (kind.distils or keys.overridden(kind) & ON_ONE_DEVICE):
        raise InputError(f"trainer must use one device with defense={keys.name_of(kind)}, got trainer=ddp")
    plug_in(defense).check(arch, training)


def privacy(defense: Config, arch: Arch, training: Training) -> Privacy | None:
    """Return what the training guarantees to its members; None: nothing.

    Args:
        defense: the plug-in.
        arch: the framework, prepared.
        training: the numbers of the training.

    Returns:
        The guarantee, or None.
    """
    made: Defense = plug_in(defense)
    return made.privacy(arch, training)


def in_training(defense: Config, images: Images, outside: Sequence[int], teacher: Encoder | None) -> Defended:
    """Return the defence with what it needs in training.

    Args:
        defense: the plug-in.
        images: the data set.
        outside: which of them are nobody's members.
        teacher: a student's.

    Returns:
        The defence, with the images that are nobody's members or the teacher where it needs them.
    """
    made: Defense = plug_in(defense)
    if teacher is not None or not keys.trains_outside(defense):
        return Defended(made, teacher=teacher)
    rows = torch.tensor(list(outside), dtype=torch.long)
    return Defended(made, images.pixels[rows], images.labels[rows])

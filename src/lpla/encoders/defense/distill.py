"""Release a student that learnt the embeddings on images that are nobody's members (after arXiv 1503.02531)."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Defense, Step, Training
from lpla.contracts.encoder import Arch, Encoder
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, checked

SMALLEST = 1e-12
"""Squared length by which is divided."""


@checked
class Distill(Defense):
    """Trains a student from the same first weights, on the teacher's embeddings at every layer.

    The teacher is the encoder that no defence has. It has seen the members and is not released; the student sees
    `images` others, for as many epochs. The loss is the squared distance as a part of the longer one's squared length,
    so that norms are learnt too. What the teacher tells of members on other images still passes.
    """

    distils: ClassVar[bool] = True

    def __init__(self, *, images: Count = 400) -> None:
        self.outside = images

    def check(self, arch: Arch, training: Training) -> None:
        """Raise InputError where the student's images fill no batch."""
        if self.outside < training.batch_size:
            least = f"at least train.batch_size, which is {training.batch_size}"
            raise InputError(f"defense.images must be {least}, got {self.outside}")

    def loss(self, arch: Arch, views: Sequence[Float[Tensor, "B C _H _W"]], step: Step) -> Float[Tensor, ""]:
        """Return the mean over views, layers and images; arguments as of `Defense.loss`. InputError: no teacher."""
        if step.teacher is None:
            raise InputError("defense=distill needs a teacher, got none")
        return torch.stack([one for view in views for one in _distances(arch, step.teacher, view)]).mean()


def _distances(student: Encoder, teacher: Encoder, view: Float[Tensor, "B C H W"]) -> list[Tensor]:
    """The mean over images at every layer."""
    with torch.no_grad():
        wanted = teacher.encode(view)
    found = []
    for layer, one in student.encode(view).items():
        # The longer of both, so that no step explodes where a teacher's embeddings are next to nothing.
        lengths = torch.maximum(*(x.detach().square().sum(dim=1) for x in (one, wanted[layer])))
        found.append(((one - wanted[layer]).square().sum(dim=1) / lengths.clamp_min(SMALLEST)).mean())
    return found

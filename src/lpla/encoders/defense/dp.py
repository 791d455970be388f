"""Train with differential privacy by clipped groups of images (DP-GCL, arXiv 2604.26467; DP-SGD, arXiv 1607.00133).

Each step draws every image by a coin of its own, cuts the drawn ones into random groups, clips each group's gradient
and adds Gaussian noise to their sum. Where the loss is a mean over images (MAE, BYOL, SimSiam) a group is one image.
What is ours: replaced images are accounted for, batch norm is replaced by group norm, and slow copies move by weights
alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from jaxtyping import Float, Int
from torch import Tensor

from lpla.contracts.defense import Defense, Privacy, Step, Training
from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Part, Positive, checked
from lpla.encoders.defense._accountant import epsilon, noise_for
from lpla.encoders.defense._frameworks import group_size_for, replace_batch_norms
from lpla.encoders.defense._groups import clipped_sum, noised, sampled

log = logging.getLogger(__name__)


@checked
class DP(Defense):
    """Trains with differential privacy.

    A member that is replaced by another image moves a step's sum by at most 2 `clip`: its group's clipped gradient is
    exchanged for another. Noise of standard deviation `noise` x `clip` is therefore a noise multiplier of `noise` / 2.
    The guarantee holds for the weights, whatever is asked of them, against whoever does not know the seed; it does not
    hold for the training losses, which the store keeps.

    `noise`: in multiples of `clip`; `epsilon` follows from it, from the members, the batch and the epochs.
    `clip`: greatest norm of a group's gradient.
    `group_size`: images in a group, whose loss sees no others; None: 8 where the loss compares images, else 1.
    `delta`: probability with which epsilon may be exceeded; None: 1 / members. It changes no weights.
    """

    release_arguments: ClassVar[frozenset[str]] = frozenset({"delta"})

    def __init__(
        self,
        *,
        noise: Positive = 4.0,
        clip: Positive = 1.0,
        group_size: Annotated[int, Ge(1), Le(4096)] | None = None,
        delta: Part | None = None,
    ) -> None:
        self.noise, self.clip, self.group_size, self.delta = noise, clip, group_size, delta

    def prepare(self, arch: Arch) -> None:
        """Replace batch norms by group norms."""
        replace_batch_norms(arch)

    def batches(self, training: Training, seed: int, epoch: int) -> Iterator[Int[Tensor, " _b"]]:
        """Draw each image by a coin, for each step of the epoch, in random order.

        Args:
            training: As of the contract.
            seed: As of the contract.
            epoch: As of the contract.

        Yields:
            The positions of a step's images, perhaps none.
        """
        steps = training.members // training.batch_size
        for step in range(epoch * steps, (epoch + 1) * steps):
            yield torch.from_numpy(sampled(training.members, training.batch_size, seed, step))

    def gradients(
        self, arch: Arch, views: Sequence[Float[Tensor, "B C _H _W"]], step: Step
    ) -> tuple[Float[Tensor, ""], Sequence[Tensor]]:
        """Return the noised sum of the groups' clipped gradients, divided by the expected number of groups.

        Args:
            arch: As of the contract.
            views: As of the contract.
            step: As of the contract.

        Returns:
            The sum of the groups' losses over that number, and the gradients.
        """
        size = group_size_for(arch, self.group_size)
        whole = len(views[0]) - len(views[0]) % size
        total, losses = clipped_sum(arch, [view[:whole] for view in views], step.progress, size, self.clip)
        groups = step.training.batch_size / size
        return losses / groups, list(noised(arch, total, self.noise * self.clip, groups, step.seed, step.number))

    def check(self, arch: Arch, training: Training) -> None:
        """Raise InputError where clipping by groups would not bound what an image changes; say what is guaranteed."""
        size = group_size_for(arch, self.group_size)
        if training.batch_size < 2 * size:
            raise InputError(
                f"train.batch_size must be at least two groups of defense.group_size={size} images, "
                f"got {training.batch_size}"
            )
        groups = f"groups of {size} images" if size > 1 else "images one by one"
        log.info("defense=dp: gradients clipped by %s; group norm for batch norm; %s", groups, self._claim(training))

    def privacy(self, arch: Arch, training: Training) -> Privacy:
        """Return the epsilon of all steps for a member that is replaced, as if it were an image in a group of one."""
        return self._claim(training)

    @staticmethod
    def noise_for(wanted: float, training: Training, delta: float | None = None) -> float:
        """Find the setting `noise` with which a training guarantees an epsilon of at most `wanted`, to 0.1 %.

        Args:
            wanted: The epsilon, > 0.
            training: The numbers of the training.
            delta: As of the setting.

        Returns:
            The noise, in multiples of `clip`.
        """
        rate, delta = training.batch_size / training.members, delta or 1 / training.members
        return 2 * noise_for(wanted, rate, training.steps, delta)

    def _claim(self, training: Training) -> Privacy:
        delta = 1 / training.members if self.delta is None else self.delta
        rate = training.batch_size / training.members
        return Privacy(_epsilon(rate, self.noise / 2, training.steps, delta), delta, "replace one")


_epsilon = cache(epsilon)
"""Asked for every row of an audit."""

"""What a defence may change: the training of an encoder, what is released of it, or both.

Shapes: B images of a batch or rows of a release, C channels, H x W pixels, D width, N images that are nobody's members.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from lpla.contracts.encoder import Arch, Encoder
from lpla.contracts.inputs import Views

Embeddings = Mapping[str, Float[Tensor, "N D"]]
"""Embeddings by layer."""


@dataclass(frozen=True)
class Training:
    """The numbers of a training that its privacy depends on, beside the defence."""

    members: int
    batch_size: int
    epochs: int

    @property
    def steps(self) -> int:
        """Count the optimiser's steps: an epoch has as many as whole batches."""
        return self.epochs * (self.members // self.batch_size)


@dataclass(frozen=True)
class Step:
    """Which step of a training it is."""

    number: int
    """From 0, over all epochs; a training that goes on from a checkpoint counts on."""
    progress: float
    """The share of the steps that are done, in [0, 1); it drives schedules."""
    seed: int
    """Seed of the encoder, for `contracts.streams.stream(NAME, step.seed, step.number)`."""
    training: Training
    teacher: Encoder | None = None
    """The encoder that was trained on the members, in evaluation mode, where the defence `distils`."""


@dataclass(frozen=True)
class Asked:
    """Which answers are to be released: a row for each embedding."""

    layer: str
    image: Int[Tensor, " B"]
    """The data-set index of each row's image, on the CPU."""
    view: Int[Tensor, " B"]
    """The number of each row's view; 0 is the clean image. Of a map it is the number of the position."""
    secret: int
    """The owner's: no other encoder has the same, so that an attacker's own encoders do not tell it."""
    fitted: Mapping[str, Tensor]
    """What `fit` returned for this layer, on the embeddings' device."""


@dataclass(frozen=True)
class Privacy:
    """What a training guarantees to each of its members."""

    epsilon: float
    delta: float
    relation: Literal["replace one", "add or remove one"]
    """Between neighbouring sets of members."""

    @property
    def replaced(self) -> float:
        """The epsilon if a member is replaced, which is to remove one and to add another."""
        return self.epsilon if self.relation == "replace one" else 2 * self.epsilon

    def __str__(self) -> str:
        return f"epsilon {self.epsilon:.2f} at delta {self.delta:.1e} ({self.relation})"


class Defense:
    """Changes how an encoder is trained (hooks of training), what is released of it (of release), or both.

    Every default changes nothing, and a plug-in overrides what it needs. A defence that overrides a hook of training
    has an encoder of its own, in whose key it stands; one that overrides hooks of release alone shares its encoder with
    no defence, and stands in the keys of statistics. Members and non-members meet the same code: no hook is told who is
    a member.
    """

    version: ClassVar[int] = 1
    """Raise it when a change of the code changes the weights or what is released."""
    release_arguments: ClassVar[frozenset[str]] = frozenset()
    """Names of the constructor's arguments that `fit` and `release` alone read: in no encoder's key."""
    distils: ClassVar[bool] = False
    """Whether the encoder is a student: trained by `loss` on the `outside` images alone, from `Step.teacher`."""
    outside: int = 0
    """How many images that are nobody's members it needs: for a student, for `score`, for `fit`. Nothing else is
    measured on them."""

    # Of training.

    def train_views(self, views: Views) -> Views:
        """Return the base augmentation of training, possibly strengthened."""
        return views

    def prepare(self, arch: Arch) -> None:
        """Change the framework in place before it is trained or its weights are loaded: layers, `optimization`."""

    def batches(self, training: Training, seed: int, epoch: int) -> Iterator[Int[Tensor, " _b"]] | None:
        """Draw the batches of an epoch.

        Args:
            training: its numbers.
            seed: of the encoder.
            epoch: from 0.

        Returns:
            Positions among the members, `members // batch_size` batches of any size; None: a permutation, in whole
            batches.
        """
        return None

    def loss(self, arch: Arch, views: Sequence[Float[Tensor, "B C _H _W"]], step: Step) -> Float[Tensor, ""]:
        """Return the loss of a batch, of which the gradient is taken; the default is the framework's own.

        Args:
            arch: the framework, in training mode.
            views: the batch through every training view.
            step: which step it is.

        Returns:
            The loss, of which every weight that the optimiser moves may have a gradient.
        """
        return arch.loss(views, step.progress)

    def gradients(
        self, arch: Arch, views: Sequence[Float[Tensor, "B C _H _W"]], step: Step
    ) -> tuple[Float[Tensor, ""], Sequence[Tensor]] | None:
        """Compute the gradients with which the optimiser steps.

        Args:
            arch: the framework, in training mode.
            views: the batch through every training view.
            step: which step it is.

        Returns:
            The loss, for the record, and a gradient for each of `trainable(arch)`; None: those of `loss`.
        """
        return None

    def score(self, encode: Callable[[], Embeddings], labels: Int[Tensor, " N"]) -> float | None:
        """Judge the encoder after an epoch, on the `outside` images.

        Args:
            encode: computes their embeddings, by layer.
            labels: their classes, -1 where there is none.

        Returns:
            The score; None: none is taken.
        """
        return None

    def stops(self, done: int, epochs: int, scores: Sequence[float | None]) -> bool:
        """Decide whether training ends here.

        Args:
            done: how many epochs are done.
            epochs: how many there are in all.
            scores: of each epoch that is done.

        Returns:
            True: no further epoch is begun.
        """
        return False

    # Of release.

    def fit(self, embeddings: Float[Tensor, "N D"]) -> dict[str, Tensor]:
        """Return what `release` needs to know of a layer, from the encoder's embeddings of the `outside` images."""
        return {}

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B _E"]:
        """Return what a query returns in place of the embedding.

        It may depend on a row and what was asked, not on the other rows.
        """
        return embedding

    # Of neither, and in no key.

    def check(self, arch: Arch, training: Training) -> None:
        """Raise InputError where the defence cannot be used so, before anything is trained; `arch` is prepared."""

    def check_widths(self, widths: Mapping[str, int]) -> None:
        """Raise InputError where `release` would leave out nothing of embeddings of these widths, by layer."""

    def privacy(self, arch: Arch, training: Training) -> Privacy | None:
        """Return what the training guarantees; None: nothing. `arch` is prepared."""
        return None


def trainable(arch: Arch) -> list[Tensor]:
    """Return the weights that the optimiser moves, in its order."""
    return [weight for weight in arch.parameters() if weight.requires_grad]

"""What is audited: a backbone, the framework that trains it, and a defence.

Shapes: B images of a batch, C channels, H x W pixels, D width. What the code supplies to a plug-in is positional-only;
what the configuration supplies is keyword-only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.inputs import UndefinedError, Views


@dataclass(frozen=True)
class Optimization:
    """How a framework's source trains it: an optimiser, and lr = base_lr x batch / reference_batch (None: flat)."""

    optimizer: Callable[..., torch.optim.Optimizer]
    base_lr: float
    reference_batch: int | None
    warmup_epochs: int


class Backbone(nn.Module, ABC):
    """The network below the framework's heads: images in, one feature vector of `features` dimensions out."""

    version: ClassVar[int] = 1
    features: int

    @abstractmethod
    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """The feature vectors of a batch."""

    def positions(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B T E"]:
        """The deepest map with more than one position of images of `side` pixels, which `x` are, by rows.

        Raises UndefinedError if there is none. Its width E need not be `features`.
        """
        raise UndefinedError(f"a map of positions needs a backbone that has one, got {type(self).__name__}")

    def part(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B E"]:
        """Parts of such images, at a size of their own: one vector each, comparable with those positions."""
        raise UndefinedError(f"a map of positions needs a backbone that has one, got {type(self).__name__}")


class Arch(nn.Module, ABC):
    """A self-supervised framework around a backbone: what it wants to see, what it minimises, what it would release."""

    version: ClassVar[int] = 1
    """Raise it when a change of the code changes the weights."""
    layers: ClassVar[tuple[str, ...]] = ("backbone", "projector")
    """What `encode` returns."""
    backbone: Backbone
    optimization: Optimization

    @abstractmethod
    def views(self, base: Views) -> tuple[Views, ...]:
        """The training views of one image, derived from the data set's base augmentation."""

    @abstractmethod
    def loss(self, views: Sequence[Float[Tensor, "B C H W"]], progress: float) -> Float[Tensor, ""]:
        """The loss of a batch seen through every view; `progress` in [0, 1) drives schedules; moves slow copies."""

    @abstractmethod
    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """The embedding at each of `layers`, which may be queried."""


class Defense:
    """Changes what the encoder is trained on, or what is released of it, or both; the default changes nothing.

    A defence that overrides `release` alone shares its encoder with no defence. One that overrides anything else has an
    encoder of its own, in whose key the defence stands.
    """

    version: ClassVar[int] = 1
    """Raise it when a change of the code changes the weights or what is released."""
    release_arguments: ClassVar[frozenset[str]] = frozenset()
    """Names of the constructor's arguments that `release` alone reads: in no encoder's key."""

    def train_views(self, views: Views) -> Views:
        """The base augmentation of training, possibly strengthened."""
        return views

    def release(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """What a query returns in place of the embedding."""
        return embedding

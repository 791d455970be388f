"""What is audited: a backbone, and the framework that trains it.

Shapes: B images of a batch, C channels, H x W pixels, D width. What the code supplies to a plug-in is positional-only;
what the configuration supplies is keyword-only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Float, Int64
from pydantic import ConfigDict, Strict
from torch import Tensor, nn

from lpla.contracts.answers import KeptAnswers
from lpla.contracts.inputs import UndefinedError, Views
from lpla.contracts.settings import (
    Count,
    Decay,
    NonNegative,
    Positive,
    SettingError,
    Settings,
    Share,
    Whole,
    checked,
    read,
    shown,
)


class _OptimizerSettings(Settings):
    """Arguments of torch's optimisers and Lightly's, which check some of them, and when training begins."""

    model_config = ConfigDict(extra="allow")
    momentum: Decay = 0.0
    dampening: Share = 0.0
    weight_decay: NonNegative = 0.0
    nesterov: bool = False
    betas: Annotated[tuple[Decay, Decay], Strict(False)] = (0.9, 0.999)
    eps: Positive = 1e-8
    amsgrad: bool = False
    trust_coefficient: Positive = 1e-3


UNUSABLE = {
    "lr": "base_lr is it",
    "params": "they are the network's weights",
    "maximize": "a loss is only ever minimised",
}
"""Arguments of optimisers that are no settings, and why."""
SGD = partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4)


@checked
@dataclass(frozen=True)
class Optimization:
    """How a framework's source trains it: an optimiser, and lr = base_lr x batch / reference_batch (None: flat).

    The defaults are those of lightly's CIFAR-10 benchmark.
    """

    optimizer: Callable[..., torch.optim.Optimizer] = SGD
    base_lr: Positive = 0.06
    reference_batch: Count | None = 128
    warmup_epochs: Whole = 0

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, partial):
            return
        given, known = self.optimizer.keywords, list(signature(self.optimizer.func).parameters)
        for name in given:
            if name in UNUSABLE:
                raise SettingError(("optimizer", name), f"must be left out: {UNUSABLE[name]}, got {shown(given[name])}")
            if name not in known:
                kind, where = self.optimizer.func.__name__, f"arch.optimization.optimizer.{name}"
                problem = f"is no setting of {kind}; ~{where} takes it away"
                raise SettingError(("optimizer", name), problem, known)
        try:
            read(_OptimizerSettings, given)
        except SettingError as wrong:
            raise wrong.below("optimizer") from None

    def check_step(self) -> None:
        """Raise SettingError where the optimiser cannot take a step on weights of the shapes that networks have.

        Optimisers check some of their arguments in their first step alone, and what goes together.
        """
        weights = [nn.Parameter(torch.ones(shape)) for shape in ((2,), (2, 3), (2, 3, 1, 1))]
        for one in weights:
            one.grad = torch.ones_like(one)
        try:
            self.optimizer(weights, lr=self.base_lr).step()
        except Exception as refused:  # whatever it is, training would end in it
            said = " ".join(str(refused).split()) or "without a message"
            problem = f"must be one that can train a network, got {type(refused).__name__} in its first step: {said}"
            raise SettingError(("optimizer",), problem) from refused


class Backbone(nn.Module, ABC):
    """The network below the framework's heads: images in, one feature vector of `features` dimensions out."""

    version: ClassVar[int] = 1
    features: int

    @abstractmethod
    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Return the feature vectors of a batch."""

    def positions(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B T E"]:
        """Return the deepest map with more than one position of images of `side` pixels, which `x` are, by rows.

        Raises UndefinedError if there is none. Its width E need not be `features`.
        """
        raise UndefinedError(f"a map of positions needs a backbone that has one, got {type(self).__name__}")

    def part(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B E"]:
        """Return parts of such images, at a size of their own: one vector each, comparable with those positions."""
        raise UndefinedError(f"a map of positions needs a backbone that has one, got {type(self).__name__}")


class Encoder(nn.Module, ABC):
    """What can be queried, wherever it comes from: images in, an embedding at each of its layers out."""

    layers: tuple[str, ...]
    """What `encode` returns."""
    full_batches: ClassVar[bool] = True
    """Whether `encode` is always given as many images, so that no sum depends on their number."""

    @abstractmethod
    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """Return the embedding at each of `layers`, which may be queried."""

    def positions(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B T E"]:
        """A map of positions of images of `side` pixels, as a backbone's; raises UndefinedError if there is none."""
        raise UndefinedError(f"a map of positions needs an encoder that has one, got {type(self).__name__}")

    def part(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B E"]:
        """Parts of such images, as a backbone's; raises UndefinedError if there is no map to compare them with."""
        raise UndefinedError(f"a map of positions needs an encoder that has one, got {type(self).__name__}")

    def expect(self, x: Float[Tensor, "B C H W"]) -> None:
        """Be told of all images that `encode` is given next, in parts: one that asks elsewhere asks for them now."""

    def examine(self, x: Float[Tensor, "B C H W"]) -> None:
        """Find out, of a few images, what must be known of it before it is used; nothing of a network."""

    def digests(self, x: Float[Tensor, "B C H W"]) -> Int64[Tensor, " B"] | None:
        """Digests of the bytes that are sent in place of the images; None where the images themselves are taken."""
        return None


class Target(ABC):
    """An encoder that was trained elsewhere: says what identifies it and builds it; trains nothing."""

    known_by_answers: ClassVar[bool] = False
    """Whether its weights are out of sight, so that `parts` alone do not tell two such encoders apart: a statistic's
    key then holds what it answers to the images in question too."""
    eight_bit: ClassVar[bool] = False
    """Whether it was given views as image files of 8 bits a channel; then every encoder of an audit is given such."""
    answers_planned: ClassVar[bool] = False
    """Whether it has answers to planned views and no network, so that no other image can be shown to it."""

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """The parts of the encoder's key, as JSON has them: what it is (by content), what is read of it, how it is fed.

        Raises InputError if it is not there or cannot be used.
        """

    @abstractmethod
    def build(self) -> Encoder:
        """Return the encoder with its weights, on the CPU, in evaluation mode; raises InputError with the remedy."""

    def blank(self) -> Encoder | None:
        """Build the same architecture with random weights, the same at every call; None where it cannot be rebuilt."""
        return None

    def asks(self) -> dict[str, Any] | None:
        """What identifies the service whose answers are kept; None for an encoder that is built here."""
        return None

    def keeping(self, kept: KeptAnswers) -> Target:
        """The same, which keeps the answers of its service there and asks for none that is kept."""
        raise NotImplementedError(f"{type(self).__name__} asks no service")


class Arch(Encoder):
    """A self-supervised framework around a backbone: what it wants to see, what it minimises, what it would release."""

    version: ClassVar[int] = 1
    """Raise it when a change of the code changes the weights."""
    layers = ("backbone", "projector")
    smallest_batch: ClassVar[int] = 2
    """Images that a batch must hold: of one alone there is nothing to contrast, and no statistics of a batch."""
    compares: ClassVar[bool] = True
    """Whether the loss compares images with each other; otherwise it is a mean over images of a loss of each alone, but
    for batch norm."""
    beyond_group: ClassVar[str] = ""
    """What the loss takes from images other than those of one small group, as a clause; empty: nothing."""
    backbone: Backbone
    projector: nn.Module
    optimization: Optimization

    def views(self, base: Views) -> tuple[Views, ...]:
        """The training views of one image, derived from the data set's base augmentation: two of the same distribution.

        A framework that sees others overrides this.
        """
        return (base, base)

    @abstractmethod
    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """The loss of a batch seen through every view; `progress` in [0, 1) drives schedules; moves slow copies."""

    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """Return the backbone's feature h and the projector's output z, before it is brought to unit length.

        Of a framework with slow copies those of the network that is trained. One without a projector overrides this.
        """
        h = self.backbone(x)
        return {"backbone": h, "projector": self.projector(h)}

    def positions(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B T E"]:
        """Return what the backbone returns."""
        return self.backbone.positions(x, side)

    def part(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B E"]:
        """Return what the backbone returns."""
        return self.backbone.part(x, side)

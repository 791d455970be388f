"""What a training is told: its settings, and the order in which its images come. It is read without Lightning."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from lpla.contracts.defense import Defense, Training
from lpla.contracts.inputs import InputError, Views
from lpla.contracts.streams import stream
from lpla.encoders import ranks


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training.

    What the weights depend on beside the framework and its members.
    """

    epochs: int
    batch_size: int
    views: Views
    seed: int

    def training(self, images: int) -> Training:
        """Return its numbers, on so many images."""
        return Training(images, self.batch_size, self.epochs)

    def check_shares(self, ranks: int) -> None:
        """Raise InputError unless so many ranks can have equal shares of every batch."""
        if self.batch_size % ranks:
            wanted = f"a multiple of the ranks (trainer.devices x trainer.num_nodes), which are {ranks}"
            raise InputError(f"train.batch_size must be {wanted}, got {self.batch_size}")


class Batches:
    """A fresh permutation per epoch, keyed by (seed, epoch), cut into whole batches; each rank has its share.

    A defence may draw other batches, as many in an epoch.
    """

    def __init__(
        self, images: int, regime: TrainConfig, epoch: Callable[[], int], defense: Defense | None = None
    ) -> None:
        self.images, self.regime, self.epoch, self.defense = images, regime, epoch, defense or Defense()

    def __len__(self) -> int:
        return self.images // self.regime.batch_size

    def __iter__(self) -> Iterator[Int[Tensor, " B"]]:
        own = self.defense.batches(self.regime.training(self.images), self.regime.seed, self.epoch())
        if own is not None:
            yield from itertools.islice(own, len(self))
            return
        order = stream("batches", self.regime.seed, self.epoch()).permutation(self.images)
        for start in range(0, len(self) * self.regime.batch_size, self.regime.batch_size):
            yield ranks.shard(torch.from_numpy(order[start : start + self.regime.batch_size]))

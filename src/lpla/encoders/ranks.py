"""The processes that make one encoder together: where this one stands among them, and what they share.

A process of its own is rank 0 of 1, and every function here is then the identity. A loss that needs the whole batch
gets it by `all_gather`: every rank then computes that loss, and the mean of the ranks' gradients, which DDP takes, is
the gradient of one process with the whole batch. A mean over images alone needs nothing: the mean of the ranks' is it.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor

RANKS_VERSION = 1
"""Raise it when a change here changes the weights."""
Item = TypeVar("Item")


def launched() -> bool:
    """Whether this process is one of those that make an encoder, as `lpla.work.launcher` starts them."""
    return dist.is_available() and dist.is_initialized()


def count() -> int:
    """How many there are."""
    return dist.get_world_size() if launched() else 1


def number() -> int:
    """Which of them this is; 0 alone writes artifacts and reports."""
    return dist.get_rank() if launched() else 0


def shard(whole: Shaped[Tensor, "WB ..."]) -> Shaped[Tensor, "B ..."]:
    """This rank's share of rows whose number the ranks divide; `all_gather` puts the shares together again."""
    return whole.chunk(count())[number()]


def all_gather(share: Shaped[Tensor, "B ..."]) -> Shaped[Tensor, "WB ..."]:
    """All ranks' rows, by rank; gradients flow back to the rank whose rows they are."""
    if count() == 1:
        return share
    from lightly.utils import dist as lightly_dist

    return torch.cat(lightly_dist.gather(share.contiguous()))


def mean(value: Tensor) -> Tensor:
    """The mean over the ranks, the same on all of them; without a gradient."""
    total = value.detach().clone()
    if count() > 1:
        dist.all_reduce(total)
    return total / count()


def from_first(item: Item) -> Item:
    """Rank 0's item, on every rank."""
    items = [item]
    if count() > 1:
        dist.broadcast_object_list(items)
    return items[0]


def gather(item: Item) -> list[Item]:
    """Every rank's item, by rank, on rank 0; nothing elsewhere."""
    if count() == 1:
        return [item]
    items: list[Item] | None = [item] * count() if number() == 0 else None
    dist.gather_object(item, items)
    return items or []

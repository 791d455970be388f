"""What a framework keeps of its past: slow copies of networks (arXiv 1703.01780), queues of embeddings (1911.05722).

Lightly's own memory banks are not persistent, and ask a GPU at every step where they stand: a checkpoint keeps these,
and nobody waits for them.
"""

from __future__ import annotations

from copy import deepcopy
from math import cos, pi
from typing import TypeVar

import torch
from jaxtyping import Float
from lightly.models.modules import NNMemoryBankModule
from lightly.models.modules.memory_bank import MemoryBankModule
from lightly.models.utils import deactivate_requires_grad
from torch import Tensor, nn

from lpla.encoders import ranks

MOMENTUM_VERSION = 1
"""Raise it when a change here changes the weights."""
Network = TypeVar("Network", bound=nn.Module)


def slow_copy(network: Network) -> Network:
    """A copy that no optimiser moves: it follows the trained network by an exponential average."""
    copy = deepcopy(network)
    deactivate_requires_grad(copy)
    return copy


def cosine_momentum(momentum: float, final_momentum: float, progress: float) -> float:
    """The share that a slow copy keeps of itself: half a cosine from `momentum` to `final_momentum` over training."""
    return final_momentum - (final_momentum - momentum) * (cos(pi * progress) + 1) / 2


class Queue(MemoryBankModule):
    """The last `queue_size` embeddings; full from the start, of random directions from torch's global generator."""

    def __init__(self, queue_size: int, width: int) -> None:
        super().__init__((queue_size, width))
        for name, buffer in list(self.named_buffers(recurse=False)):
            self.register_buffer(name, buffer, persistent=True)

    @torch.no_grad()
    def _dequeue_and_enqueue(self, batch: Float[Tensor, "B D"]) -> None:
        """Write the batch where the last one ended, what exceeds the end left out, the next one then at the start.

        The batch is that of all ranks, so that their banks stay the same.
        """
        batch = ranks.all_gather(batch)
        size, count = len(self.bank), len(batch)
        place = torch.arange(size, device=batch.device) - self.bank_ptr
        fresh = ((place >= 0) & (place < count))[:, None]
        self.bank.copy_(torch.where(fresh, batch[place.clamp(0, count - 1)], self.bank))
        end = self.bank_ptr + count
        self.bank_ptr.copy_(end * (end < size))


class Neighbours(Queue, NNMemoryBankModule):
    """A queue that answers with the nearest of its embeddings (NNCLR, arXiv 2104.14548)."""

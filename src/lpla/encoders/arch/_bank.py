"""Memory banks that a checkpoint keeps and nobody waits for (the queue of MoCo, arXiv 1911.05722).

Lightly's own are not persistent, and ask a GPU at every step where they stand.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from lightly.models.modules import NNMemoryBankModule
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import Tensor

from lpla.encoders import ranks

BANK_VERSION = 1
"""Raise it when a change here changes the weights."""


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

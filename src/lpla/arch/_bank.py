"""Memory banks that a checkpoint keeps; Lightly's own are not persistent (the queue of MoCo, arXiv 1911.05722)."""

from lightly.models.modules.memory_bank import MemoryBankModule

from lpla.contracts import InputError


def bank_shape(queue_size: int, width: int) -> tuple[int, int]:
    """The size that Lightly's banks take; raises InputError for a bank that holds nothing."""
    if queue_size < 1:
        raise InputError(f"arch.queue_size must be an integer >= 1, got {queue_size}")
    return queue_size, width


def keep(bank: MemoryBankModule) -> None:
    """Make the bank's embeddings and its write position part of `state_dict`, under their own names.

    A bank is full from the start, with random directions drawn from torch's global generator at construction.
    """
    for name, buffer in list(bank.named_buffers(recurse=False)):
        bank.register_buffer(name, buffer, persistent=True)

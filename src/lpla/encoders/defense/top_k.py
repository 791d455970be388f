"""Release the largest coordinates of an embedding alone."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import Dimension, checked


@checked
class TopK(Defense):
    """Releases the `k` coordinates of the greatest absolute value and zero in place of the others.

    Of coordinates that are equally great the first ones are kept; a narrower embedding is released whole.
    """

    release_arguments: ClassVar[frozenset[str]] = frozenset({"k"})

    def __init__(self, *, k: Dimension = 32) -> None:
        self.k = k

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B D"]:
        """Return the embedding with zeros."""
        order = embedding.abs().argsort(dim=1, descending=True, stable=True)[:, : self.k]
        kept = torch.zeros_like(embedding, dtype=torch.bool).scatter_(1, order, True)
        return torch.where(kept, embedding, 0.0)

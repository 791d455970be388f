"""Release embeddings of 8 bits or of 1 bit per dimension, as services do to save memory."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import Count, checked

LEVELS = 255
"""Steps between the ends of a dimension's range."""


@checked
class Quantise(Defense):
    """Releases 8 bits of every dimension, within its range on images that are nobody's members, or 1 bit.

    Of 8 bits the value is released that the code stands for, which whoever knows the ranges computes. 1 bit says
    whether a dimension is above its mean on those images, and is released as 1 or -1, so that all norms are one.
    """

    release_arguments: ClassVar[frozenset[str]] = frozenset({"bits", "images"})

    def __init__(self, *, bits: Literal[8, 1] = 8, images: Count = 200) -> None:
        self.bits, self.outside = bits, images

    def fit(self, embeddings: Float[Tensor, "N D"]) -> dict[str, Tensor]:
        """Return each dimension's range and mean."""
        return {"low": embeddings.amin(dim=0), "high": embeddings.amax(dim=0), "mean": embeddings.mean(dim=0)}

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B D"]:
        """Return the values of the codes; what is not finite stays so, and a zero vector has a norm like all others."""
        if self.bits == 1:
            return torch.where(embedding >= asked.fitted["mean"].to(embedding), 1.0, -1.0).to(embedding) + 0 * embedding
        low, high = asked.fitted["low"].to(embedding), asked.fitted["high"].to(embedding)
        step = (high - low) / LEVELS
        code = ((embedding - low) / torch.where(step > 0, step, 1.0)).round().clamp(0, LEVELS)
        return low + code * step + 0 * embedding

"""Release the largest coordinates of an embedding alone."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.inputs import InputError
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

    def check_widths(self, widths: Mapping[str, int]) -> None:
        """Raise InputError where every layer is narrower."""
        check_kept("k", self.k, widths)


def check_kept(setting: str, kept: int, widths: Mapping[str, int]) -> None:
    """Raise InputError where no layer has more dimensions than are kept.

    Args:
        setting: of the defence, which says how many are kept.
        kept: its value.
        widths: dimensions of an embedding, by layer.

    Raises:
        InputError: so many are kept.
    """
    if kept >= (most := max(widths.values())):
        there = ", ".join(f"{layer} {width}" for layer, width in widths.items())
        raise InputError(f"defense.{setting} must be less than {most}, or it leaves nothing out ({there}), got {kept}")

"""Add fresh noise to every answer, which an attacker with several queries of an image averages away (ours)."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import NonNegative, checked
from lpla.encoders.defense.noise import noisy


@checked
class NoiseFresh(Defense):
    """Releases an embedding plus `sigma` times its length times noise of its own, of expected squared length 1."""

    release_arguments: ClassVar[frozenset[str]] = frozenset({"sigma"})

    def __init__(self, *, sigma: NonNegative = 0.1) -> None:
        self.sigma = sigma

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B D"]:
        """Return the noisy embedding."""
        which = torch.stack([asked.image, asked.view], dim=1)
        return noisy(embedding, self.sigma, asked.layer, asked.secret, which)

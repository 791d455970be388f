"""Release the p-norm of an embedding in place of the vector, as an interface does that returns one number (ours).

An embedding of one number has one direction, so that an attack on directions finds all views and images alike.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import Order, checked


@checked
class NormsOnly(Defense):
    """Releases the norm of an embedding alone.

    `p` is the order of the norm that is released; the encoder is the one that no defence has.
    """

    release_arguments: ClassVar[frozenset[str]] = frozenset({"p"})

    def __init__(self, *, p: Order = 2.0) -> None:
        self.p = p

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B 1"]:
        """Return the norm as a vector of width 1; of a zero vector zero, of one that is not finite not finite."""
        return torch.linalg.vector_norm(embedding, ord=self.p, dim=1, keepdim=True)

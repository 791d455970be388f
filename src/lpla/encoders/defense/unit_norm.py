"""Release embeddings scaled to unit length, so that their L2 norm is 1 for every image."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.defense import Asked, Defense


class UnitNorm(Defense):
    """Releases embeddings of unit length.

    Many embedding services return such vectors; a zero vector stays zero.
    """

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B D"]:
        """Return the embedding divided by its L2 norm."""
        return F.normalize(embedding, dim=1)

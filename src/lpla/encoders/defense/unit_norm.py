"""Release embeddings scaled to unit length, so that their L2 norm is 1 for every image."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.encoder import Defense


class UnitNorm(Defense):
    """What many embedding services return; a zero vector stays zero."""

    def release(self, embedding: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """The embedding divided by its L2 norm."""
        return F.normalize(embedding, dim=1)

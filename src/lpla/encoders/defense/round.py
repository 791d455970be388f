"""Release embeddings rounded to a few decimals."""

from typing import Annotated, ClassVar

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import checked


@checked
class Round(Defense):
    """Releases every coordinate rounded to so many decimals, a half to the even neighbour."""

    release_arguments: ClassVar[frozenset[str]] = frozenset({"decimals"})

    def __init__(self, *, decimals: Annotated[int, Ge(-6), Le(12)] = 1) -> None:
        self.decimals = decimals

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B D"]:
        """Return the rounded embedding."""
        return embedding.round(decimals=self.decimals)

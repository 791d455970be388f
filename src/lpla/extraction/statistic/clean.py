"""The embedding of the clean image (view 0): what kNN and a linear probe measure utility on."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.evidence import Query, Statistic


@dataclass(frozen=True)
class Clean(Statistic):
    """Keeps one vector per image, in single precision."""

    name: ClassVar[str] = "clean"

    def query(self, full_query: Query, side: int) -> Query:
        """Ask for one view, the clean image."""
        return replace(full_query, queries=1)

    def __call__(self, embeddings: Float[Tensor, "B Q D"]) -> Float[Tensor, "B D"]:
        """View 0 of each image."""
        return embeddings[:, 0].float()

    def prefix(self, values: Float[np.ndarray, "N D"], queries: int) -> Float[np.ndarray, "N D"]:
        """Return all values, which are the same for every budget."""
        return values

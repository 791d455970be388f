"""Stop training early: the line that every defence must beat, as it costs less than none (after arXiv 2404.17399)."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Annotated

import torch
from annotated_types import Gt, Le
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.defense import Defense, Embeddings
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, checked


@checked
class EarlyStop(Defense):
    """Ends training after a share of its epochs, or once unseen images are classified no better.

    The schedule of the learning rate is that of the whole training, of which the rest is left out. With `patience` the
    share is the most that is trained, and training ends when the kNN accuracy on `images` that are nobody's members has
    not risen for so many epochs; what is released is the encoder as it is then.
    """

    def __init__(
        self,
        *,
        share: Annotated[float, Gt(0), Le(1)] = 0.5,
        patience: Count | None = None,
        images: Count = 200,
        k: Count = 5,
    ) -> None:
        if patience is not None and k >= images:
            raise InputError(f"defense.k must be less than defense.images, which is {images}, got {k}")
        self.share, self.patience, self.k = share, patience, k
        self.outside = 0 if patience is None else images

    def score(self, encode: Callable[[], Embeddings], labels: Int[Tensor, " N"]) -> float | None:
        """Return the accuracy of each labelled image's nearest others, at the backbone."""
        if self.patience is None:
            return None
        known = labels >= 0
        if len(labels[known].unique()) < 2:
            raise InputError("defense.patience needs images of two classes outside every training set, got fewer")
        return knn(encode()["backbone"][known], labels[known], self.k)

    def stops(self, done: int, epochs: int, scores: Sequence[float | None]) -> bool:
        """Return whether the share is done, or the best score is too old; arguments as of `Defense.stops`."""
        if done >= ceil(self.share * epochs - 1e-9):
            return True
        if self.patience is None:
            return False
        values = [-1.0 if one is None else one for one in scores]
        return done - 1 - values.index(max(values)) >= self.patience


def knn(embeddings: Float[Tensor, "N D"], labels: Int[Tensor, " N"], k: int) -> float:
    """Return the part of the images that the most frequent class of their k most similar others names.

    Args:
        embeddings: of the images.
        labels: their classes.
        k: how many others vote; of equally frequent classes the first one wins.

    Returns:
        The part, from 0 to 1.
    """
    directions = F.normalize(embeddings, dim=1)
    likeness = (directions @ directions.T).fill_diagonal_(-torch.inf)
    votes = labels[likeness.topk(min(k, len(labels) - 1), dim=1).indices]
    counts = F.one_hot(votes, int(labels.max()) + 1).sum(dim=1)
    return float((counts.argmax(dim=1) == labels).double().mean())

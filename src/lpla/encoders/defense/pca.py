"""Release the first principal components of embeddings, found on images that are nobody's members."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import Count, Dimension, SettingError, checked
from lpla.encoders.defense.top_k import check_kept


@checked
class PCA(Defense):
    """Releases coordinates along the directions of the greatest variance, about the mean of the images of nobody.

    An embedding of fewer dimensions is rotated, and nothing of it is left out.
    """

    release_arguments: ClassVar[frozenset[str]] = frozenset({"components", "images"})

    def __init__(self, *, components: Dimension = 32, images: Count = 400) -> None:
        if images <= components:
            least = f"more than defense.components, which is {components}"
            raise SettingError(("defense", "images"), f"must be {least}, got {images}")
        self.components, self.outside = components, images

    def fit(self, embeddings: Float[Tensor, "N D"]) -> dict[str, Tensor]:
        """Return the mean and the directions, each with its greatest coordinate positive."""
        exact = embeddings.double().cpu()
        mean = exact.mean(dim=0)
        directions = torch.linalg.svd(exact - mean, full_matrices=False).Vh[: self.components]
        greatest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        return {"mean": mean.float(), "directions": (directions * greatest.sign()).float()}

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B K"]:
        """Return the coordinates."""
        mean, directions = (asked.fitted[name].to(embedding) for name in ("mean", "directions"))
        centred = embedding - mean
        # One by one, as a product of matrices sums in an order that depends on the number of rows.
        return torch.stack([(centred * direction).sum(dim=1) for direction in directions], dim=1)

    def check_widths(self, widths: Mapping[str, int]) -> None:
        """Raise InputError where every layer is narrower."""
        check_kept("components", self.components, widths)

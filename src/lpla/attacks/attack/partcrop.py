"""PartCrop: a network judges how parts of an image agree with the map of the whole (Zhu et al., arXiv 2404.02462)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import nn

from lpla.attacks.attack._network import NetworkAttack
from lpla.attacks.attack._training import Training, mlp
from lpla.contracts.evidence import Seen
from lpla.contracts.settings import Seed, checked
from lpla.extraction.statistic.part_energy import PartEnergy

HIDDEN = (512, 256, 128)
Parts = Annotated[int, Ge(1), Le(10_000)]


@checked
class PartCrop(NetworkAttack):
    """Two energies of each of `parts` crops, and a network of three hidden layers; asks for 1 + `parts` views.

    `seed` draws the Gaussian reference of the second energy, once for all images. Members and non-members pass through
    the same transforms, which they do not in the paper's code. It exists for the backbone alone, and where that has a
    map of more than one position.
    """

    NEEDS = ("shadows or labels", "a map of positions")

    def __init__(self, *, parts: Parts = 128, seed: Seed = 0, training: Training = Training(epochs=100)) -> None:
        self.training = training
        self._statistic = PartEnergy(parts, seed)

    def statistics(self) -> tuple[PartEnergy]:
        """Name the energies of the parts."""
        return (self._statistic,)

    def features(self, seen: Seen) -> Float[np.ndarray, "N E"]:
        """Return both energies of every part, each sorted."""
        return np.asarray(seen.values[PartEnergy.name])

    def network(self, width: int) -> nn.Module:
        """Return the paper's multilayer perceptron."""
        return mlp(width, *HIDDEN, 1)

"""EncoderMI-V: a network judges the sorted vector of the views' pairwise cosines (Liu et al., arXiv 2108.11023)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import nn

from lpla.attacks.attack._network import NetworkAttack
from lpla.attacks.attack._training import Training, mlp
from lpla.contracts.evidence import Seen
from lpla.contracts.settings import Dimension, checked
from lpla.extraction.statistic.cosine import Cosine


@checked
class EncoderMIV(NetworkAttack):
    """Two hidden layers of `hidden` neurons; undefined for a single query, which has no pair."""

    NEEDS = ("shadows or labels", "several views")

    def __init__(self, *, hidden: Dimension = 64, training: Training = Training()) -> None:
        self.hidden, self.training = hidden, training

    def statistics(self) -> tuple[Cosine]:
        """Return the cosines of all pairs."""
        return (Cosine(),)

    def features(self, seen: Seen) -> Float[np.ndarray, "N P"]:
        """Return the cosines in ascending order, so that it does not matter which pair has which."""
        return np.sort(seen.values[Cosine.name], axis=1)

    def network(self, width: int) -> nn.Module:
        """Return the multilayer perceptron."""
        return mlp(width, self.hidden, self.hidden, 1)

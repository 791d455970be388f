"""EncoderMI-S: a network judges the set of the views' pairwise cosines (Liu et al., arXiv 2108.11023).

The network is DeepSets (Zaheer et al., arXiv 1703.06114): a function of the mean of a function of every element.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from lpla.attacks.attack._network import NetworkAttack
from lpla.attacks.attack._training import Training, mlp
from lpla.contracts.evidence import Seen
from lpla.contracts.settings import Dimension, checked
from lpla.extraction.statistic.cosine import Cosine


class DeepSets(nn.Module):
    """A network on sets: a function of the mean of a function of every element.

    Both functions have one hidden layer, of `hidden` neurons as is what they exchange.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.element = nn.Sequential(mlp(width, hidden, hidden), nn.ReLU())
        self.whole = mlp(hidden, hidden, 1)

    def forward(self, elements: Float[Tensor, "B P F"]) -> Float[Tensor, "B 1"]:
        """Compute the output, which is the same for every order of the P elements."""
        return self.whole(self.element(elements).mean(dim=1))


@checked
class EncoderMIS(NetworkAttack):
    """DeepSets of `hidden` neurons; undefined for a single query, which has no pair."""

    NEEDS = ("shadows or labels", "several views")

    def __init__(self, *, hidden: Dimension = 32, training: Training = Training()) -> None:
        self.hidden, self.training = hidden, training

    def statistics(self) -> tuple[Cosine]:
        """Return the cosines of all pairs."""
        return (Cosine(),)

    def features(self, seen: Seen) -> Float[np.ndarray, "N P 1"]:
        """Return the cosines, one number per element of the set."""
        return seen.values[Cosine.name][..., None]

    def network(self, width: int) -> nn.Module:
        """Return the network on sets."""
        return DeepSets(width, self.hidden)

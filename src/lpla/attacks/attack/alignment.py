"""Alignment: members' views lie nearer to the clean image's vector (after SSLMem, Wang et al., arXiv 2401.12233).

SSLMem measures memorisation by how much alignment differs between an encoder that saw the image and one that did not.
Ours: shadows are that reference, the side is learnt, and nothing is divided by the range of the scored images.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._pairs import PairAttack, distances
from lpla.attacks.likelihood.calibrated import Likelihood
from lpla.contracts.evidence import Seen
from lpla.contracts.settings import checked


@checked
class Alignment(PairAttack):
    """Mean distance of the views' unit vectors to the clean image's."""

    NEEDS = ("shadows", "several views")

    def __init__(self, *, likelihood: Likelihood = "offline", tie_variance: bool = True) -> None:
        super().__init__(likelihood=likelihood, tie_variance=tie_variance)

    def pairs(self, seen: Seen) -> Float[np.ndarray, "N P"]:
        """Return the distances."""
        return distances(seen)

"""EncoderMI-T: members' views are more (or less) alike than non-members' (Liu et al., CCS '21, arXiv 2108.11023).

The mean of all pairwise cosines, with a threshold learnt on shadows. Ours: on which side members lie is learnt too, and
`likelihood` may be any other.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._pairs import PairAttack, cosines
from lpla.attacks.likelihood.calibrated import Likelihood
from lpla.contracts.evidence import Seen
from lpla.contracts.settings import checked


@checked
class EncoderMIT(PairAttack):
    """The mean cosine of an image's views."""

    NEEDS = ("shadows or labels", "several views")

    def __init__(self, *, likelihood: Likelihood = "class_conditional", tie_variance: bool = True) -> None:
        super().__init__(likelihood=likelihood, tie_variance=tie_variance)

    def pairs(self, seen: Seen) -> Float[np.ndarray, "N P"]:
        """Return the cosines."""
        return cosines(seen)

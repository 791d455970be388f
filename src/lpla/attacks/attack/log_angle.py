"""Log angle: the angle between two views of a member is smaller (ours; after EncoderMI-T, arXiv 2108.11023).

A member's views are closer by a factor, and so by an amount of the logarithm: the difficulty of the views, which is a
factor as well, cancels where an image is compared with itself under other encoders.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._pairs import PairAttack, log_angles
from lpla.attacks.likelihood.calibrated import Likelihood
from lpla.contracts.evidence import Seen
from lpla.contracts.settings import checked


@checked
class LogAngle(PairAttack):
    """Mean of log(1 - cosine + 1e-6) over an image's pairs of views."""

    NEEDS = ("shadows or labels", "several views")

    def __init__(self, *, likelihood: Likelihood = "combined", tie_variance: bool = True) -> None:
        super().__init__(likelihood=likelihood, tie_variance=tie_variance)

    def pairs(self, seen: Seen) -> Float[np.ndarray, "N P"]:
        """Return the logarithms."""
        return log_angles(seen)

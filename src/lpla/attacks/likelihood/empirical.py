"""d1: the rank of an image among known non-members, as a p-value (Davison and Hinkley 1997, section 4.2)."""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Float

from lpla.attacks.likelihood.nonmembers import ONE_IN, NonMembers, known_means
from lpla.attacks.likelihood.standardise import mean_of_views


class Empirical(NonMembers):
    """Ranks an image among known non-members.

    p = (r + 1) / (n + 1), r of n known non-members at least as far out; `both` doubles the smaller tail.

    Candidates beyond all known non-members tie: n of them resolve no rate below 1 / (n + 1).
    """

    def fit(self, known_u: Float[np.ndarray, "n Q"], known_features: Float[np.ndarray, "n F"] | None = None, /) -> Self:
        """Keep the means, sorted; p <= 5 % has a chance of at most 5 % for any further non-member."""
        self.known_ = np.sort(known_means(known_u))
        self.threshold_ = -1 / ONE_IN
        return self

    def score(
        self, u: Float[np.ndarray, "N Q"], features: Float[np.ndarray, "N F"] | None = None, /
    ) -> Float[np.ndarray, " N"]:
        """-p of every image."""
        mean, n = mean_of_views(u), len(self.known_)
        upper = (n - np.searchsorted(self.known_, mean, side="left") + 1) / (n + 1)
        lower = (np.searchsorted(self.known_, mean, side="right") + 1) / (n + 1)
        if self.tail == "both":
            return -np.minimum(2 * np.minimum(upper, lower), 1.0)
        return -(upper if self.tail == "upper" else lower)

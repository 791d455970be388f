"""LpLA: membership from the p-norm of embeddings, calibrated on shadows (arXiv 2506.05743; the definition is ours)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float

from lpla.attack._no_shadow import NoShadow
from lpla.attack._scalar import ScalarAttack
from lpla.evidence import Labelled, Seen
from lpla.likelihood.calibrated import Calibrated
from lpla.statistic.log_norm import LogNorm, count_unusable, valid_p


class LpLA(ScalarAttack):
    """Likelihood ratio of "in" and "out" for the log-norms of an image's views; `likelihood` as in `Calibrated`."""

    looks_at_pixels = True  # no_shadow=d2 conditions on thumbnails

    def __init__(
        self, *, p: float, ps: Sequence[float], likelihood: str, tie_variance: bool, no_shadow: str, tail: str
    ) -> None:
        self.p = valid_p(p)
        self.calibrated = Calibrated(likelihood=likelihood, tie_variance=tie_variance)
        self.no_shadow = NoShadow(no_shadow=no_shadow, tail=tail)
        self._statistic = LogNorm(tuple(sorted({valid_p(one) for one in ps} | {self.p})))

    def statistics(self) -> tuple[LogNorm]:
        """The log-norms for every p of the sweep, so that one extraction serves them all."""
        return (self._statistic,)

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Learn the likelihoods and the threshold."""
        super().fit(shadows)
        unusable = np.array([count_unusable(self._log_norms(shadow)) for shadow in shadows]).sum(axis=0)
        self.zero_views_, self.nonfinite_views_ = (int(count) for count in unusable)
        return self

    def fit_nonmembers(self, known: Seen) -> Self:
        """Learn from known non-members by `no_shadow`, from the log-norms for p alone."""
        self.zero_views_ = self.nonfinite_views_ = 0
        return super().fit_nonmembers(known)

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N Q"]:
        """The log-norms for p."""
        return self._log_norms(seen)[..., self._statistic.ps.index(self.p)]

    def remarks(self) -> list[str]:
        """Where the threshold does not come from the shadows' scores; views of the shadows that were set aside."""
        found = super().remarks()
        if self.zero_views_ or self.nonfinite_views_:
            counts = f"{self.zero_views_} zero and {self.nonfinite_views_} non-finite"
            found.append(f"{counts} embeddings among the shadows' views, scored as uninformative")
        return found

    def _log_norms(self, seen: Seen) -> Float[np.ndarray, "N Q P"]:
        values = seen.values[LogNorm.name]
        if values.ndim != 3 or values.shape[2] != len(self._statistic.ps):
            raise ValueError(f"log_norm must be [N, Q, {len(self._statistic.ps)}], got {values.shape}")
        return values

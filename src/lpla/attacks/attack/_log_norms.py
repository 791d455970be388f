"""The log-norms that an attack was given: for which p, and how many embeddings have none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._unusable import set_aside
from lpla.contracts.evidence import Seen
from lpla.extraction.statistic.log_norm import LogNorm, count_unusable, valid_p


class LogNorms:
    """Every p once, in ascending order."""

    def __init__(self, ps: Iterable[float]) -> None:
        self.statistic = LogNorm(tuple(sorted({valid_p(one) for one in ps})))

    def all(self, seen: Seen) -> Float[np.ndarray, "N Q P"]:
        """The log-norms of every view for all p."""
        values = seen.values[LogNorm.name]
        if values.ndim != 3 or values.shape[2] != len(self.statistic.ps):
            raise ValueError(f"log_norm must be [N, Q, {len(self.statistic.ps)}], got {values.shape}")
        return values

    def of(self, seen: Seen, p: float) -> Float[np.ndarray, "N Q"]:
        """The log-norms of every view for one p."""
        return self.all(seen)[..., self.statistic.ps.index(p)]

    def set_aside(self, shadows: Sequence[Seen]) -> list[str]:
        """The sentence on the shadows' embeddings without a log-norm."""
        zero, nonfinite = np.array([count_unusable(self.all(shadow)) for shadow in shadows]).sum(axis=0)
        return set_aside(int(zero), int(nonfinite), "embeddings among the shadows' views")

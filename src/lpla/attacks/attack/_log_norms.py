"""What an attack can use of its evidence: the log-norms for some p, means over usable views, how much is set aside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from lpla.contracts.evidence import Seen
from lpla.extraction.statistic.log_norm import LogNorm, count_unusable, valid_p

PS = (0.5, 1.0, 2.0, 3.0, math.inf)
"""Orders of the norms that are kept in one pass over the views."""


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


def mean_of_known(x: Float[np.ndarray, "N Q *P"], known: Bool[np.ndarray, "N Q ..."]) -> Float[np.ndarray, "N *P"]:
    """Mean over the second axis where `known` (which may be the same for every P); nan where nothing is."""
    if known.size and known.all():
        return x.mean(axis=1, dtype=np.float64)
    count = known.sum(axis=1)
    total = np.where(known, x, 0.0).sum(axis=1, dtype=np.float64)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def set_aside(zero: int, nonfinite: int, what: str) -> list[str]:
    """The sentence on embeddings that say nothing, zero or not finite; none where there were none."""
    if not zero and not nonfinite:
        return []
    return [f"{zero} zero and {nonfinite} non-finite {what}, scored as uninformative"]

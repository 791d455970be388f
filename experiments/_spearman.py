"""Rank correlation over encoders, with an interval that knows which of them belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from lpla.contracts.inputs import stream

RESAMPLES = 10_000
LEVEL = 0.05
FEWEST = 8
"""Clusters below which the bootstrap is not trusted with a decision (`tests/experiments/test_spearman.py` has why)."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rho with its 95 % interval; None where one of the two variables never changes."""

    value: float | None
    low: float
    high: float
    encoders: int
    clusters: int

    @property
    def decides(self) -> bool:
        """Whether the interval is on one side of 0 and rests on enough clusters."""
        return self.value is not None and self.clusters >= FEWEST and (self.low > 0 or self.high < 0)


def spearman(
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    cluster: Sequence[object],
    seed: int,
    stratum: Sequence[object] | None = None,
    resamples: int = RESAMPLES,
) -> Correlation:
    """Spearman's rank correlation, midranks for ties, with the percentile interval of the cluster bootstrap.

    Clusters, not points, are drawn with replacement (Davison & Hinkley 1997, section 3.8), so that points that share a
    training count as one piece of evidence. With `stratum` the ranks are taken less their mean within each stratum:
    what remains of the correlation where the stratum is held fixed. A resample in which one of the two does not vary
    has no correlation: it counts as -1 for the lower end and as 1 for the upper one. Raises ValueError if lengths
    differ or a value is not finite.
    """
    groups = [cluster] if stratum is None else [cluster, stratum]
    if {len(x), *map(len, groups)} != {len(y)} or not np.isfinite([x, y]).all():
        raise ValueError(f"x, y, cluster and stratum must be [N], and finite numbers, got {len(x)} and {len(y)}")
    owner = _numbered(cluster)
    strata = np.zeros(len(x), dtype=int) if stratum is None else _numbered(stratum)
    count = int(owner.max(initial=-1)) + 1
    value = _weighted(x, y, strata, np.ones((1, len(x))))[0] if len(x) else np.nan
    if np.isnan(value):
        return Correlation(None, -1.0, 1.0, len(x), count)
    drawn = stream("resamples", seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    found = _weighted(x, y, strata, drawn[:, owner].astype(float))
    low = np.quantile(np.nan_to_num(found, nan=-1.0), LEVEL / 2)
    high = np.quantile(np.nan_to_num(found, nan=1.0), 1 - LEVEL / 2)
    return Correlation(float(value), float(low), float(high), len(x), count)


def _numbered(groups: Sequence[object]) -> Int[np.ndarray, " N"]:
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(one, len(numbers)) for one in groups], dtype=int)


def _weighted(
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    strata: Int[np.ndarray, " N"],
    weight: Float[np.ndarray, "R N"],
) -> Float[np.ndarray, " R"]:
    """The correlation of every resample, given how often each point is in it; nan where it has none."""
    a, b = (_centred(_ranks(values, weight), strata, weight) for values in (x, y))
    # Rounding of sums of ranks, which are multiples of one half, is far below this.
    spread = np.sqrt((weight * a**2).sum(1) * (weight * b**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-6, np.clip((weight * a * b).sum(1) / spread, -1, 1), np.nan)


def _ranks(values: Float[np.ndarray, " N"], weight: Float[np.ndarray, "R N"]) -> Float[np.ndarray, "R N"]:
    """Midrank of each point among all copies of all points of a resample."""
    below, level = values[:, None] < values, values[:, None] == values
    return weight @ below + (weight @ level + 1) / 2


def _centred(
    rank: Float[np.ndarray, "R N"], strata: Int[np.ndarray, " N"], weight: Float[np.ndarray, "R N"]
) -> Float[np.ndarray, "R N"]:
    """Ranks less the mean of their stratum in the resample."""
    inside = (strata[:, None] == np.arange(strata.max() + 1)).astype(float)
    total = weight @ inside
    mean = (weight * rank) @ inside / np.where(total == 0, 1, total)
    return rank - mean @ inside.T

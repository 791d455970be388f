"""Rank correlation over encoders, with an interval and a test that know which of them belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial

import numpy as np
from jaxtyping import Float, Int

from lpla.contracts.inputs import stream

RESAMPLES = 10_000
LEVEL = 0.05
MOST_EXCHANGES = 50_000
"""Of whole clusters that are all gone through: those of 8."""
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
    p: float | None
    """Two-sided, of the exchange of whole clusters; None where these do not hold the same places."""

    @property
    def decides(self) -> bool:
        """Whether enough clusters say it by both: the interval is on one side of 0, and few exchanges say as much."""
        one_side = self.value is not None and (self.low > 0 or self.high < 0)
        return one_side and self.clusters >= FEWEST and self.p is not None and self.p < LEVEL


def spearman(
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    cluster: Sequence[object],
    seed: int,
    stratum: Sequence[object] | None = None,
    place: Sequence[object] | None = None,
    resamples: int = RESAMPLES,
) -> Correlation:
    """Spearman's rank correlation, midranks for ties, with the percentile interval of the cluster bootstrap.

    Clusters, not points, are drawn with replacement (Davison & Hinkley 1997, section 3.8), so that points that share a
    training count as one piece of evidence. With `stratum` the ranks are taken less their mean within each stratum:
    what remains of the correlation where the stratum is held fixed. A resample in which one of the two does not vary
    has no correlation: it counts as -1 for the lower end and as 1 for the upper one.

    Args:
        x: One value per point.
        y: The same of the other variable.
        cluster: What each point belongs to.
        seed: Of the bootstrap, and of the exchanges where there are too many to go through.
        stratum: What is held fixed; the same for all points of a place.
        place: Which point of a cluster it is; if all clusters hold the same places once, y of whole clusters is
            exchanged between them, place by place, for `Correlation.p`.
        resamples: Draws of the bootstrap.

    Raises:
        ValueError: If lengths differ or a value is not finite.
    """
    groups = [one for one in (cluster, stratum, place) if one is not None]
    if {len(x), *map(len, groups)} != {len(y)} or not np.isfinite([x, y]).all():
        raise ValueError(f"x, y, cluster and stratum must be [N], and finite numbers, got {len(x)} and {len(y)}")
    owner = _numbered(cluster)
    strata = np.zeros(len(x), dtype=int) if stratum is None else _numbered(stratum)
    count = int(owner.max(initial=-1)) + 1
    value = _weighted(x, y, strata, np.ones((1, len(x))))[0] if len(x) else np.nan
    if np.isnan(value):
        return Correlation(None, -1.0, 1.0, len(x), count, None)
    drawn = stream("resamples", seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    found = _weighted(x, y, strata, drawn[:, owner].astype(float))
    low = np.quantile(np.nan_to_num(found, nan=-1.0), LEVEL / 2)
    high = np.quantile(np.nan_to_num(found, nan=1.0), 1 - LEVEL / 2)
    p = None if place is None else _exchange(x, y, strata, owner, _numbered(place), seed)
    return Correlation(float(value), float(low), float(high), len(x), count, p)


def _exchange(
    x: Float[np.ndarray, " N"],
    y: Float[np.ndarray, " N"],
    strata: Int[np.ndarray, " N"],
    owner: Int[np.ndarray, " N"],
    place: Int[np.ndarray, " N"],
    seed: int,
) -> float | None:
    """Part of all exchanges of whole clusters that correlate as much on the same side, doubled.

    Ranks stay as they are, so that an exchange's correlation is a sum of the clusters' products, one per cluster of x.
    Up to `MOST_EXCHANGES` are gone through; of more, `RESAMPLES` are drawn.
    """
    clusters, places = int(owner.max()) + 1, int(place.max()) + 1
    if clusters * places != len(x) or len(set(zip(owner.tolist(), place.tolist(), strict=True))) != len(x):
        return None
    order = np.lexsort((place, owner))
    whole = np.ones((1, len(x)))
    a, b = (_centred(_ranks(one, whole), strata, whole)[0][order].reshape(clusters, places) for one in (x, y))
    product = a @ b.T
    if factorial(clusters) <= MOST_EXCHANGES:
        drawn = np.array(list(permutations(range(clusters))))
    else:
        random = stream("exchanges", seed)
        drawn = np.stack([np.arange(clusters), *(random.permutation(clusters) for _ in range(RESAMPLES))])
    found = product[np.arange(clusters), drawn].sum(axis=1)
    # Sums of ranks, which are multiples of one quarter but for the strata's means.
    above, below = np.mean(found >= found[0] - 1e-6), np.mean(found <= found[0] + 1e-6)
    return min(1.0, 2 * float(min(above, below)))


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

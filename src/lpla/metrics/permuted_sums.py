"""The law of a sum over the members when all memberships are equally likely, for numbers with many ties.

The normal law of a rank sum holds for ranks without ties down to three members of hundreds. Ties make the sum skewed
where the groups are unequal, and let it jump: 1 of 3 members and 5 of 500 non-members above all others, which chance
does in 3.5 % of cases, are 5 standard errors.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import hypergeom, norm, rankdata

from lpla.contracts.streams import stream

HEAVY = 0.001
"""Part of the variance of ranks that ties take away, above which the normal law is not used: that of one tie of a tenth
of the images, or of 32 values in equal numbers."""
FEW = 64
"""Values, up to which a sum with heavy ties jumps by more than the normal law allows for."""
SKEWED = 0.02
"""Skewness of a sum at which the normal law's tail of .0005 (`significance.BACKWARDS`) is off by a tenth."""
COUNTED = 50_000_000
"""Steps of counting all memberships, above which memberships are drawn."""
DRAWS = 9_999


def doubled_ranks(score: Float[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Mid-ranks times two, which are integers."""
    return np.rint(2 * rankdata(score)).astype(np.int64)


def heavily_tied(numbers: Int[np.ndarray, " N"], members: int) -> bool:
    """Return whether ties take the sum over so many members away from the normal law: few values, or a skewed sum.

    Ties that take less than `HEAVY` of the variance of the ranks do not. Groups of one size have a symmetric sum.
    """
    sizes, n = np.unique(numbers, return_counts=True)[1].astype(float), len(numbers)
    if (sizes**3 - sizes).sum() <= HEAVY * (float(n) ** 3 - n):
        return False
    return len(sizes) <= FEW or abs(_skewness(numbers, members)) > SKEWED


def _skewness(numbers: Int[np.ndarray, " N"], k: int) -> float:
    """Third standardised moment of the sum of k of N numbers, drawn without replacement."""
    n, apart = len(numbers), numbers - numbers.mean()
    second = k * (n - k) / (n * (n - 1)) * float((apart**2).sum())
    third = k * (n - k) * (n - 2 * k) / (n * (n - 1) * (n - 2)) * float((apart**3).sum())
    return third / second**1.5


def sum_p_value(numbers: Int[np.ndarray, " N"], member: Bool[np.ndarray, " N"], draws: int = DRAWS) -> float:
    """Return the probability of a sum over the members as high, if all memberships of their number are equally likely.

    Args:
        numbers: Of the images, integers; a linear change of all leaves the p-value as it is.
        member: Who is a member.
        draws: Memberships that are drawn, always the same ones, where counting them all is too long (`COUNTED`); the
            p-value is then (1 + as high) / (1 + draws), which keeps its level, or Serfling's bound of the p-value where
            no draw came as high and the bound is lower.

    Returns:
        The p-value: hypergeometric for two values, else counted, else drawn.
    """
    if 2 * member.sum() > len(member):
        # The members' sum is high exactly if that of the others is low.
        numbers, member = -numbers, ~member
    numbers = numbers - numbers.min()
    values, size = np.unique(numbers, return_counts=True)
    k, seen = int(member.sum()), int(numbers[member].sum())
    if len(values) == 1:
        return 1.0
    if len(values) == 2:
        return min(float(hypergeom.sf(int((numbers[member] > 0).sum()) - 1, len(numbers), int(size[1]), k)), 1.0)
    most = int(np.sort(numbers)[-k:].sum())
    if len(numbers) * k * most > COUNTED:
        as_high = int((drawn_sums(numbers, k, draws) >= seen).sum())
        drawn = (1 + as_high) / (1 + draws)
        return drawn if as_high else min(drawn, _most_likely(numbers, k, seen))
    ways = _ways(numbers, k, most)
    return float(ways[seen:].sum() / ways.sum())


def _most_likely(numbers: Int[np.ndarray, " N"], k: int, seen: int) -> float:
    """The most that the probability of a sum of k numbers as high can be (Serfling 1974, without replacement)."""
    above = max(seen / k - float(numbers.mean()), 0.0) / float(np.ptp(numbers))
    return float(np.exp(-2 * k * above**2 / (1 - (k - 1) / len(numbers))))


def _ways(numbers: Int[np.ndarray, " N"], k: int, most: int) -> Float[np.ndarray, " S"]:
    """In how many ways k of the images have each sum, up to the highest; floating-point, as there may be 1e40."""
    ways = np.zeros((k + 1, most + 1))
    ways[0, 0] = 1
    for number in np.sort(numbers):
        ways[1:, number:] += ways[:-1, : most + 1 - number].copy()
    return ways[k]


def drawn_sums(numbers: Int[np.ndarray, " N"], members: int, draws: int, *which: int) -> Int[np.ndarray, " D"]:
    """Sum numbers over memberships that are drawn, always the same ones.

    Args:
        numbers: Of the images, integers.
        members: How many images are in each.
        draws: How many memberships.
        which: Integers that tell draws apart which must not depend on each other.

    Returns:
        A sum for each membership.
    """
    random, (values, size) = stream("memberships of tied scores", 0, *which), np.unique(numbers, return_counts=True)
    if len(values) <= FEW:
        return random.multivariate_hypergeometric(size, members, draws, method="marginals") @ values
    return np.array([random.choice(numbers, members, replace=False, shuffle=False).sum() for _ in range(draws)])


def in_errors(
    normal: float, numbers: Int[np.ndarray, " N"], member: Bool[np.ndarray, " N"], draws: int = DRAWS
) -> float:
    """Return how far a sum over the members is from what is expected, in standard errors, so that the normal law holds.

    Args:
        normal: The sum less its expectation, over its error: returned unless ties are heavy.
        numbers: Of the images, integers, whose sum it is.
        member: Who is a member.
        draws: As of `sum_p_value`.

    Returns:
        Where ties are heavy, what a normal number must be to have the smaller one-sided p-value of the sum.
    """
    if not heavily_tied(numbers, int(member.sum())):
        return normal
    up, down = sum_p_value(numbers, member, draws), sum_p_value(-numbers, member, draws)
    size = max(float(norm.isf(min(up, down))), 0.0)
    return size if up < down else -size

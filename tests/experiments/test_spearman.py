"""Spearman's correlation over encoders: against a slow loop, under what must not matter, and how often it errs."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from experiments._spearman import FEWEST, Correlation, spearman

RESAMPLES = 200


def slow(x: list, y: list, cluster: list, seed: int, stratum: list | None = None) -> tuple[float, float, float]:
    """One resample after another, with every copy of every point written out."""

    def rho(chosen: list[int]) -> float:
        a, b = rankdata([x[i] for i in chosen]), rankdata([y[i] for i in chosen])
        of = [stratum[i] if stratum else 0 for i in chosen]
        for one in set(of):
            inside = [place for place, other in enumerate(of) if other == one]
            a[inside] -= a[inside].mean()
            b[inside] -= b[inside].mean()
        if np.allclose(a, 0) or np.allclose(b, 0):
            return np.nan
        return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))

    names = list(dict.fromkeys(cluster))
    random = np.random.default_rng(seed)
    lows, highs = [], []
    for times in random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES):
        chosen = [i for name, n in zip(names, times, strict=True) for _ in range(n)
                  for i in range(len(x)) if cluster[i] == name]  # fmt: skip
        found = rho(chosen)
        lows.append(-1.0 if np.isnan(found) else found)
        highs.append(1.0 if np.isnan(found) else found)
    return rho(list(range(len(x)))), float(np.quantile(lows, 0.025)), float(np.quantile(highs, 0.975))


def fast(x: list, y: list, cluster: list, stratum: list | None = None, seed: int = 3) -> Correlation:
    return spearman(np.array(x, float), np.array(y, float), cluster, seed, stratum, resamples=RESAMPLES)


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize(("points", "clusters", "levels"), [(6, 3, 3), (12, 12, 100), (20, 5, 4), (5, 5, 2)])
def test_the_slow_loop_agrees(points: int, clusters: int, levels: int, stratified: bool) -> None:
    random = np.random.default_rng(points)
    x, y = (random.integers(levels, size=points).astype(float).tolist() for _ in range(2))
    cluster = (np.arange(points) % clusters).tolist()
    stratum = random.integers(2, size=points).tolist() if stratified else None
    found = fast(x, y, cluster, stratum)
    assert found.value is not None
    assert (found.value, found.low, found.high) == pytest.approx(slow(x, y, cluster, 3, stratum), abs=1e-9)
    assert (found.encoders, found.clusters) == (points, clusters)


POINTS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5), st.integers(0, 6)), min_size=3, max_size=15)


@settings(deadline=None)
@given(POINTS)
def test_ranks_alone_count_and_signs_mirror(points: list[tuple[int, int, int]]) -> None:
    x, y, cluster = (list(column) for column in zip(*points, strict=True))
    found = fast(x, y, cluster)
    if found.value is None:
        assert len(set(x)) == 1 or len(set(y)) == 1
        assert (found.low, found.high) == (-1, 1) and not found.decides
        return
    assert found.value == pytest.approx(spearmanr(x, y)[0], abs=1e-9)
    assert -1 <= found.low <= found.high <= 1
    bent = fast([value**3 + value for value in x], [np.exp(value) for value in y], cluster)
    assert bent == found
    assert fast(y, x, cluster).value == pytest.approx(found.value)
    mirrored = fast(x, [-value for value in y], cluster)
    expected = (-found.value, -found.high, -found.low)
    assert (mirrored.value, mirrored.low, mirrored.high) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(POINTS)
def test_copies_within_a_training_are_no_new_evidence(points: list[tuple[int, int, int]]) -> None:
    x, y, cluster = (list(column) for column in zip(*points, strict=True))
    once, thrice = fast(x, y, cluster), fast(x * 3, y * 3, cluster * 3)
    assert thrice.clusters == once.clusters and thrice.encoders == 3 * once.encoders
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=1e-9)


def test_what_a_stratum_explains_is_taken_out() -> None:
    random = np.random.default_rng(0)
    length = np.repeat([0, 10], 40)
    x, y = (length + random.normal(size=80) for _ in range(2))
    plain, within = (
        fast(x.tolist(), y.tolist(), list(range(80))),
        fast(x.tolist(), y.tolist(), list(range(80)), [*length]),
    )
    assert plain.low > 0.5 and within.low < 0 < within.high


def test_so_few_clusters_err_seldom_and_pooled_checkpoints_would_err_often() -> None:
    """Unrelated variables: the interval leaves 0 in about 1 of 20; taken point by point it would in about 1 of 4."""
    random = np.random.default_rng(0)
    cluster = np.repeat(np.arange(FEWEST), 4).tolist()
    wrong: Counter[str] = Counter()
    for trial in range(200):
        x, y = random.normal(size=(2, FEWEST))
        alone = spearman(x, y, list(range(FEWEST)), trial, resamples=300)
        x, y = (np.repeat(values, 4) + random.normal(0, 0.3, 4 * FEWEST) for values in (x, y))
        clustered = spearman(x, y, cluster, trial, resamples=300)
        pointwise = spearman(x, y, list(range(len(x))), trial, resamples=300)
        for name, found in {"alone": alone, "clusters": clustered, "points": pointwise}.items():
            wrong[name] += found.low > 0 or found.high < 0
    assert wrong["alone"] <= 24 and wrong["clusters"] <= 34 and wrong["points"] >= 40, wrong


def test_a_decision_needs_enough_clusters_and_an_interval_on_one_side() -> None:
    assert Correlation(0.5, 0.1, 0.8, 40, FEWEST, 0.04).decides
    assert Correlation(-0.5, -0.8, -0.1, 40, FEWEST, 0.04).decides
    assert not Correlation(0.5, -0.1, 0.8, 40, FEWEST, 0.04).decides
    assert not Correlation(0.5, 0.1, 0.8, 40, FEWEST, 0.06).decides
    assert not Correlation(0.5, 0.1, 0.8, 40, FEWEST, None).decides
    assert not Correlation(1.0, 1.0, 1.0, 40, FEWEST - 1, 0.0).decides


def exchanged_slowly(x: np.ndarray, y: np.ndarray, stratum: list | None) -> float:
    """x and y [clusters, places]; every exchange's correlation anew."""
    names = np.tile(np.zeros(x.shape[1]) if stratum is None else stratum, (len(x), 1)).ravel().tolist()
    found = []
    for order in permutations(range(len(x))):
        a, b = (rankdata(one.ravel()) for one in (x, y[list(order)]))
        for name in set(names):
            inside = [i for i, other in enumerate(names) if other == name]
            a[inside] -= a[inside].mean()
            b[inside] -= b[inside].mean()
        found.append((a * b).sum())
    above, below = (np.mean(side) for side in (np.array(found) >= found[0] - 1e-9, np.array(found) <= found[0] + 1e-9))
    return min(1.0, 2 * min(above, below))


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("clusters", [2, 4, 5])
def test_the_exchange_of_whole_clusters_by_all_orders(clusters: int, stratified: bool) -> None:
    random = np.random.default_rng(clusters)
    x, y = random.integers(0, 6, (2, clusters, 4)).astype(float)
    places, stratum = list("abcd") * clusters, [0, 0, 1, 1] if stratified else None
    owner = np.repeat(np.arange(clusters), 4).tolist()
    order = random.permutation(4 * clusters)
    found = spearman(
        x.ravel()[order], y.ravel()[order], [owner[i] for i in order], 0,
        None if stratum is None else [(stratum * clusters)[i] for i in order], [places[i] for i in order], RESAMPLES,
    )  # fmt: skip
    assert found.p == pytest.approx(exchanged_slowly(x, y, stratum))
    lacking = spearman(x.ravel()[1:], y.ravel()[1:], owner[1:], 0, None, places[1:], RESAMPLES)
    assert lacking.p is None


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("clusters", [5, FEWEST, 10])
def test_unrelated_frameworks_seldom_support_the_claim(clusters: int) -> None:
    """With families (framework, backbone, seed) as the units .18 to .34 of such trade-offs were called supported."""
    random, rounds = np.random.default_rng(clusters), 120
    framework, place = np.repeat(np.arange(clusters), 8), np.tile(np.arange(8), clusters)
    claims: Counter[str] = Counter()
    for trial in range(rounds):
        x, y = (np.repeat(random.normal(size=clusters), 8) + 0.5 * random.normal(size=8 * clusters) for _ in range(2))
        found = spearman(x, y, framework.tolist(), trial, None, place.tolist(), resamples=300)
        by_family = spearman(x, y, (framework * 4 + place // 2).tolist(), trial, resamples=300)
        claims["frameworks"] += found.decides
        claims["families"] += by_family.low > 0 or by_family.high < 0
    assert claims["frameworks"] <= 0.05 * rounds + 3 * np.sqrt(0.05 * 0.95 * rounds)
    assert claims["families"] >= 0.15 * rounds and (clusters >= FEWEST or not claims["frameworks"]), claims


def test_related_frameworks_support_it() -> None:
    random = np.random.default_rng(0)
    framework, place = np.repeat(np.arange(12), 4), np.tile(np.arange(4), 12)
    x = np.repeat(random.normal(size=12), 4) + 0.3 * random.normal(size=48)
    assert spearman(x, x + random.normal(0, 0.5, 48), framework.tolist(), 0, None, place.tolist()).decides


@pytest.mark.parametrize(("x", "cluster"), [([1.0, np.nan], [0, 1]), ([1.0, 2.0], [0])])
def test_what_cannot_be_ranked_is_refused(x: list, cluster: list) -> None:
    with pytest.raises(ValueError, match="must be"):
        fast(x, [1.0, 2.0], cluster)

"""The numbers of the report against double loops, scikit-learn and exact limits."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest, nhypergeom, norm
from sklearn.metrics import balanced_accuracy_score, precision_score, roc_auc_score, roc_curve

from lpla.contracts.inputs import InputError
from lpla.metrics.calls import balanced_accuracy, precision
from lpla.metrics.intervals import newcombe
from lpla.metrics.roc import (
    auc,
    delong_error,
    leak_p_value,
    lowest_fpr,
    placements,
    tpr_absent,
    tpr_at,
)


def scores(
    seed: int, members: int, nonmembers: int, gap: float = 0.8, digits: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Rounded, so that there are ties, and in no order."""
    random = np.random.default_rng(seed)
    member = random.permutation(members + nonmembers) < members
    return np.round(random.normal(gap * member), digits), member


def slow_auc(score: np.ndarray, member: np.ndarray) -> tuple[float, float]:
    """AUC and DeLong's standard error by comparing every pair."""
    inside, outside = score[member], score[~member]
    wins = np.array([[(x > y) + 0.5 * (x == y) for y in outside] for x in inside])
    by_member, by_nonmember = wins.mean(axis=1), wins.mean(axis=0)
    variance = by_member.var(ddof=1) / len(inside) + by_nonmember.var(ddof=1) / len(outside)
    return wins.mean(), math.sqrt(variance)


@pytest.mark.parametrize(("members", "nonmembers"), [(2, 2), (2, 40), (31, 17), (60, 60)])
@pytest.mark.parametrize("seed", range(3))
def test_auc_and_its_interval_by_all_pairs(members: int, nonmembers: int, seed: int) -> None:
    score, member = scores(seed, members, nonmembers)
    value, error = slow_auc(score, member)
    got = auc(score, member)
    assert got.value == pytest.approx(value, abs=1e-12)
    assert got.value == pytest.approx(roc_auc_score(member, score), abs=1e-12)
    if error and 0 < value < 1:
        assert delong_error(*placements(score, member)) == pytest.approx(error, abs=1e-12)
        half = norm.ppf(0.975) * error / (value * (1 - value))
        alone = [1 / (1 + math.exp(-math.log(value / (1 - value)) - side * half)) for side in (-1, 1)]
        part = 1 - min(members, nonmembers) / max(members, nonmembers) / 2
        bottom, top = slow_newcombe(value, members, nonmembers)
        assert got.low == pytest.approx(alone[0] - part * max(alone[0] - bottom, 0), abs=2e-4 * part + 1e-9)
        assert got.high == pytest.approx(alone[1] + part * max(top - alone[1], 0), abs=2e-4 * part + 1e-9)


def slow_newcombe(area: float, members: int, nonmembers: int) -> tuple[float, float]:
    """All areas on a grid from which the one seen is 1.96 standard errors at most."""
    true = np.linspace(0, 1, 20_001)
    one, both = true / (2 - true) - true**2, 2 * true**2 / (1 + true) - true**2
    further = (members + nonmembers) / 2 - 1
    variance = (true * (1 - true) + further * one + further * both) / (members * nonmembers)
    held = true[np.abs(true - area) <= norm.ppf(0.975) * np.sqrt(variance)]
    return float(held.min()), float(held.max())


@pytest.mark.parametrize(("area", "members", "nonmembers"), [(0.6, 30, 100), (0.9, 1000, 30), (0.99, 20, 5000)])
def test_newcombes_interval_by_a_grid(area: float, members: int, nonmembers: int) -> None:
    assert newcombe(area, members, nonmembers) == pytest.approx(slow_newcombe(area, members, nonmembers), abs=1e-4)


def covers(found: list, truth: float) -> float:
    """Part of the intervals that hold the truth."""
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def near(covered: float, rounds: int, low: float = 0.93, high: float = 0.97) -> bool:
    """Within what is promised, up to three standard errors of the simulation."""
    error = 3 * math.sqrt(0.05 * 0.95 / rounds)
    return low - error <= covered <= high + error


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize(("area", "images"), [(0.714, 200), (0.95, 50), (0.95, 100), (0.99, 50), (0.99, 100)])
def test_the_auc_interval_covers_as_it_says(area: float, images: int) -> None:
    """DeLong's symmetric interval covered .83 to .93 at .95 and .99. For scores like these it is on the safe side."""
    gap = math.sqrt(2) * float(norm.ppf(area))
    found = [auc(*scores(seed, images, images, gap, digits=12)) for seed in range(1000)]
    assert near(covers(found, area), 1000, low=0.945, high=0.97 if area < 0.95 else 0.985)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize(("members", "nonmembers"), [(1000, 30), (20, 2000), (100, 50)])
@pytest.mark.parametrize("area", [0.8, 0.95, 0.99])
def test_the_auc_interval_of_unequal_groups_covers_what_it_says_at_least(
    area: float, members: int, nonmembers: int
) -> None:
    """DeLong's logit interval alone covered .84 and .77 at .99 of the first two."""
    gap = math.sqrt(2) * float(norm.ppf(area))
    found = [auc(*scores(seed, members, nonmembers, gap, digits=12)) for seed in range(500)]
    assert near(covers(found, area), 500, high=1.0)


def exponential(seed: int, images: int, area: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of both groups, exponential: skewed, the members' the more."""
    random, member = np.random.default_rng(seed), np.arange(2 * images) < images
    return random.exponential(size=2 * images) * np.where(member, area / (1 - area), 1.0), member


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize(("area", "images"), [(0.98, 50), (0.99, 50), (0.99, 100), (0.995, 100), (0.99, 1000)])
def test_the_auc_interval_of_skewed_scores_covers_what_it_says_near_1(area: float, images: int) -> None:
    """DeLong's logit interval alone covered .88, .88, .84, .81 and .94."""
    found = [auc(*exponential(seed, images, area)) for seed in range(1000)]
    assert near(covers(found, area), 1000, low=0.945, high=0.98)


@pytest.mark.parametrize("area", [0.5, 0.6, 0.8, 0.9])
@pytest.mark.parametrize("images", [50, 200])
def test_the_auc_interval_is_hardly_wider_than_delongs_where_that_covers(area: float, images: int) -> None:
    width, alone = [], []
    for seed in range(100):
        score, member = scores(seed, images, images, math.sqrt(2) * float(norm.ppf(area)), digits=12)
        got = auc(score, member)
        half = norm.ppf(0.975) * delong_error(*placements(score, member)) / (got.value * (1 - got.value))
        ends = [1 / (1 + math.exp(-math.log(got.value / (1 - got.value)) - side * half)) for side in (-1, 1)]
        width.append(got.high - got.low)
        alone.append(ends[1] - ends[0])
    assert np.mean(alone) <= np.mean(width) < 1.04 * np.mean(alone)


def rates(images: int, fpr: float, gap: float, rounds: int) -> tuple[list, float]:
    """The rates of simulated audits, and the rate of the population at `fpr`."""
    found = [tpr_at(*scores(seed, images, images, gap, digits=12), fpr) for seed in range(rounds)]
    return found, float(norm.sf(norm.isf(fpr) - gap))


@pytest.mark.parametrize("gap", [0, 1, 2])
def test_the_tpr_interval_covers_the_rate_at_the_false_positive_rate_asked_for(gap: float) -> None:
    """Clopper and Pearson's, which took the cut as given, covered .69 to .89 at 100 images."""
    found, truth = rates(100, 0.05, gap, 1000)
    assert near(covers(found, truth), 1000)
    # Not biased up: a further non-member is above the cut in at most 5 %.
    assert np.mean([one.value for one in found]) <= truth + 3 * np.std([one.value for one in found]) / math.sqrt(1000)


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("gap", [0, 1, 2])
@pytest.mark.parametrize(("images", "fpr", "rounds"), [(100, 0.05, 6000), (1000, 0.01, 3000), (10_000, 0.001, 1000)])
def test_the_tpr_interval_covers_at_every_rate(images: int, fpr: float, rounds: int, gap: float) -> None:
    found, truth = rates(images, fpr, gap, rounds)
    assert near(covers(found, truth), rounds)


@pytest.mark.parametrize(("gap", "threshold"), [(0, 0), (0, 2), (1, 0.5), (3, 1.5)])
@pytest.mark.parametrize("images", [50, 200])
def test_precision_and_balanced_accuracy_cover_as_they_say(images: int, gap: float, threshold: float) -> None:
    drawn = [scores(seed, images, images, gap, digits=12) for seed in range(500)]
    true, false = norm.sf(threshold - gap), norm.sf(threshold)
    balanced = covers([balanced_accuracy(*one, threshold) for one in drawn], float((true + 1 - false) / 2))
    assert near(balanced, 500, high=1.0)
    called = [found for one in drawn if (found := precision(*one, threshold))]
    # Clopper and Pearson's interval is never too short.
    assert near(covers(called, float(true / (true + false))), 500, high=1.0)


def test_separated_scores_still_have_an_interval() -> None:
    member = np.arange(30) < 10
    best, worst = auc(member.astype(float), member), auc(-member.astype(float), member)
    assert (best.value, best.high, worst.value, worst.low) == (1, 1, 0, 0)
    assert best.low == pytest.approx(0.025 ** (1 / 10)) == 1 - worst.high
    assert best.low == pytest.approx(beta.ppf(0.025, 10, 1))


def test_ties_and_single_images_still_have_an_interval() -> None:
    tied = auc(np.zeros(400), np.arange(400) < 200)
    assert tied.value == 0.5
    assert tied.high - 0.5 == pytest.approx(1.96 * math.sqrt(401 / (12 * 200 * 200)), rel=1e-4)
    alone = auc(np.arange(9.0), np.arange(9) == 6)
    assert alone.value == 0.75 and alone.low == 0 and alone.high == 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), members=st.integers(1, 20), nonmembers=st.integers(1, 20), digits=st.integers(0, 2))
def test_auc_is_symmetric_bounded_and_blind_to_monotone_changes(
    seed: int, members: int, nonmembers: int, digits: int
) -> None:
    score, member = scores(seed, members, nonmembers, digits=digits)
    one, other = auc(score, member), auc(-score, member)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert [one.value, one.low, one.high] == pytest.approx([1 - other.value, 1 - other.high, 1 - other.low], abs=1e-9)
    assert auc(np.exp(3 * score), member) == one


@pytest.mark.parametrize("digits", [0, 1, 8])
@pytest.mark.parametrize("fpr", [0.05, 0.01])
@pytest.mark.parametrize("nonmembers", [1000, 1037])
def test_tpr_is_the_highest_point_of_the_curve_that_keeps_a_stranger_below_fpr(
    digits: int, fpr: float, nonmembers: int
) -> None:
    score, member = scores(1, 700, nonmembers, digits=digits)
    false_rate, true_rate, _ = roc_curve(member, score, drop_intermediate=False)
    # A further non-member is as likely to stand at any of the n + 1 places among these.
    allowed = (false_rate * nonmembers + 1) / (nonmembers + 1) <= fpr + 1e-12
    got = tpr_at(score, member, fpr)
    assert got is not None and got.value == pytest.approx(true_rate[allowed].max())
    assert got.requested_fpr == fpr and got.realised_fpr < fpr
    assert (got.realised_fpr, got.value) in set(zip(false_rate, true_rate, strict=True))
    assert got == tpr_at(score, member, fpr) and got.low <= got.value <= got.high


def resampled_slowly(score: np.ndarray, member: np.ndarray, allowed: int, rounds: int) -> np.ndarray:
    """The double bootstrap of the true-positive rate, image by image."""
    random, inside, outside = np.random.default_rng(1), score[member], score[~member]
    found = []
    for _ in range(rounds):
        cut = np.sort(random.choice(outside, len(outside)))[-allowed - 1]
        found.append(np.mean(random.random(len(inside)) < np.mean(inside > cut)))
    return np.array(found)


@pytest.mark.parametrize("digits", [1, 9])
def test_the_tpr_interval_is_that_of_redrawn_images(digits: int) -> None:
    score, member = scores(5, 80, 120, 1.5, digits=digits)
    got = tpr_at(score, member, 0.05)
    slow = np.quantile(resampled_slowly(score, member, 5, 4000), [0.025, 0.975])
    assert got is not None and [got.low, got.high] == pytest.approx(list(slow), abs=0.035)


def test_the_cut_is_the_fifth_of_a_hundred_non_members() -> None:
    outside = np.arange(100.0)
    inside = np.array([94.5, 95.0, 95.5, 200.0])
    got = tpr_at(np.concatenate([inside, outside]), np.arange(104) < 4, 0.05)
    # 5 of 101 places lie at or above it: 4.95 %; the sixth would be 5.94 %.
    assert got is not None and (got.value, got.requested_fpr, got.realised_fpr) == (0.5, 0.05, 0.04)


def test_tpr_of_separated_groups_is_one_with_an_interval() -> None:
    score, member = scores(0, 30, 100)
    got = tpr_at(score + 99 * member, member, 0.05)
    assert got is not None and (got.value, got.high) == (1, 1)
    assert got.low == pytest.approx(beta.ppf(0.025, 30, 1))


def test_a_threshold_never_splits_a_tie() -> None:
    score = np.concatenate([np.ones(50), np.ones(10), np.zeros(90)])
    got = tpr_at(score, np.arange(150) < 50, 0.05)
    assert got is not None and (got.value, got.low, got.realised_fpr) == (0, 0, 0) and 0 < got.high < 0.1


@pytest.mark.parametrize(("fpr", "needed"), [(0.05, 100), (0.01, 1000), (0.001, 10_000)])
def test_too_few_nonmembers_give_a_reason_and_no_number(fpr: float, needed: int) -> None:
    score, member = scores(2, 50, needed - 1)
    assert tpr_at(score, member, fpr) is None
    assert tpr_absent(fpr, needed - 1) == f"TPR at {fpr:.1%} FPR needs at least {needed} non-members, got {needed - 1}"
    score, member = scores(2, 50, needed)
    assert tpr_at(score, member, fpr) is not None and tpr_absent(fpr, needed) is None


def test_other_false_positive_rates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"fpr must be one of 0.05, 0.01, 0.001, got 0.5"):
        tpr_at(*scores(0, 5, 5), 0.5)


@pytest.mark.parametrize(
    ("nonmembers", "expected"), [(99, None), (100, 0.05), (999, 0.05), (1000, 0.01), (9999, 0.01), (10_000, 0.001)]
)
def test_the_lowest_rate_is_the_strictest_that_has_a_number(nonmembers: int, expected: float | None) -> None:
    assert lowest_fpr(nonmembers) == expected


def found_above(score: np.ndarray, member: np.ndarray, allowed: int) -> int:
    """Members before the (allowed + 1)-th non-member from the top, non-members first among equals."""
    misses = found = 0
    for _, inside in sorted(zip(-score, member, strict=True)):
        misses += not inside
        if misses > allowed:
            break
        found += inside
    return found


@pytest.mark.parametrize(("members", "nonmembers"), [(1, 3), (4, 4), (5, 3), (3, 6)])
@pytest.mark.parametrize("fpr", [0.05, 0.34, 0.67])
@pytest.mark.parametrize("ties", [False, True])
def test_the_leak_p_value_by_all_ways_to_place_the_members(
    members: int, nonmembers: int, fpr: float, ties: bool
) -> None:
    images, allowed = members + nonmembers, int(fpr * nonmembers)
    placed = [np.isin(np.arange(images), chosen) for chosen in combinations(range(images), members)]
    distinct = np.array([found_above(np.arange(images), member, allowed) for member in placed])
    score = np.arange(images) // (2 if ties else 1)
    p = np.array([leak_p_value(score.astype(float), member, fpr) for member in placed])
    for one, member in zip(p, placed, strict=True):
        assert one == pytest.approx(np.mean(distinct >= found_above(score, member, allowed)))
    # What makes it a p-value: whatever the level, no more than that part of all placements falls below it.
    assert all(np.mean(p <= level) <= level + 1e-9 for level in np.unique(p))


@pytest.mark.parametrize(("members", "nonmembers", "fpr"), [(100, 100, 0.05), (2000, 10_000, 0.001), (7, 30, 0.05)])
def test_the_leak_p_value_is_the_negative_hypergeometric_tail(members: int, nonmembers: int, fpr: float) -> None:
    score, member = scores(5, members, nonmembers, gap=0.4, digits=12)
    allowed = math.floor(fpr * nonmembers)
    found = found_above(score, member, allowed)
    expected = nhypergeom(members + nonmembers, members, allowed + 1).sf(found - 1)
    assert leak_p_value(score, member, fpr) == pytest.approx(expected, rel=1e-6)
    assert leak_p_value(score + 9 * member, member, fpr) < 1e-4
    assert leak_p_value(score - 9 * member, member, fpr) == 1
    with pytest.raises(ValueError, match="fpr must be between 0 and 1, got 1"):
        leak_p_value(score, member, 1)


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 0.4, 9.0])
def test_balanced_accuracy_is_sklearns(threshold: float) -> None:
    score, member = scores(3, 40, 70)
    expected = balanced_accuracy_score(member, score >= threshold)
    found = balanced_accuracy(score, member, threshold)
    assert found.value == pytest.approx(expected)
    called = score >= threshold
    rates = np.array([called[member].mean(), (~called[~member]).mean()])
    wilson = [binomtest(int(np.sum(right)), len(right)).proportion_ci(method="wilson")
              for right in (called[member], ~called[~member])]  # fmt: skip
    down, up = (math.hypot(*(rates - [getattr(one, end) for one in wilson])) / 2 for end in ("low", "high"))
    assert (found.low, found.high) == pytest.approx((max(expected - down, 0), min(expected + up, 1)))


@pytest.mark.parametrize("threshold", [-1.0, 0.3, 1.2])
def test_precision_is_sklearns(threshold: float) -> None:
    score, member = scores(3, 40, 70)
    found, called = precision(score, member, threshold), score >= threshold
    exact = binomtest(int(called[member].sum()), int(called.sum())).proportion_ci(method="exact")
    assert found is not None and found.value == pytest.approx(precision_score(member, called))
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_precision_needs_an_image_that_is_called_a_member() -> None:
    score, member = scores(3, 40, 70)
    assert precision(score, member, score.max() + 1) is None
    found = precision(np.array([3.0, 2.0, 1.0]), np.array([False, True, False]), 3.0)
    assert found is not None and (found.value, found.low) == (0, 0) and found.high == pytest.approx(0.975)


@pytest.mark.wrong_types
def test_scores_and_members_are_checked() -> None:
    score, member = scores(4, 5, 5)
    for sides in (np.ones(10, dtype=bool), np.zeros(10, dtype=bool)):
        with pytest.raises(InputError, match="at least one member and one non-member are needed, got"):
            auc(score, sides)
    with pytest.raises(ValueError, match=r"\(9,\) and \(10,\)"):
        auc(score[:-1], member)
    score[[2, 5]] = np.nan
    with pytest.raises(ValueError, match="scores must be numbers, got 2 NaN of 10"):
        balanced_accuracy(score, member, 0.0)

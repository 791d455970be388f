"""The paired test against slow versions, exact limits, and their promises over many simulated audits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from lpla.contracts.inputs import InputError
from lpla.metrics.compare import paired_auc
from lpla.metrics.roc import auc, delong_error, placements


def two_attacks(
    seed: int, members: int, nonmembers: int, gaps: tuple[float, float] = (0.8, 0.8), digits: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Correlated scores of two attacks on the same images, rounded so that there are ties."""
    random = np.random.default_rng(seed)
    member = random.permutation(members + nonmembers) < members
    shared = random.normal(size=len(member))
    a, b = (np.round(shared + random.normal(gap * member), digits) for gap in gaps)
    return a, b, member


def resampled_slowly(score: np.ndarray, member: np.ndarray, seed: int, resamples: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    groups = np.flatnonzero(member), np.flatnonzero(~member)
    drawn = [np.concatenate([random.choice(group, len(group)) for group in groups]) for _ in range(resamples)]
    return np.array([roc_auc_score(member[images], score[images]) for images in drawn])


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize(("members", "nonmembers", "digits"), [(40, 25, 1), (15, 60, 0), (30, 30, 9)])
def test_the_interval_of_an_auc_is_the_spread_of_redrawn_images(members: int, nonmembers: int, digits: int) -> None:
    score, _, member = two_attacks(1, members, nonmembers, digits=digits)
    slow = np.quantile(resampled_slowly(score, member, 0, 600), [0.025, 0.975])
    got = auc(score, member)
    assert got.value == pytest.approx(roc_auc_score(member, score))
    # A quantile of 600 resamples: its own standard error, by the normal density at 1.96, is .11 of the deviation.
    allowed = 4 * 0.11 * (slow[1] - slow[0]) / (2 * 1.96)
    assert [got.low, got.high] == pytest.approx(list(slow), abs=allowed)


@pytest.mark.parametrize(("members", "nonmembers"), [(2, 2), (3, 40), (31, 17)])
@pytest.mark.parametrize("seed", range(3))
def test_the_paired_test_by_all_pairs(members: int, nonmembers: int, seed: int) -> None:
    a, b, member = two_attacks(seed, members, nonmembers, (1.5, 0.2))
    wins = [[[(x > y) + 0.5 * (x == y) for y in s[~member]] for x in s[member]] for s in (a, b)]
    by_member, by_nonmember = np.mean(wins, axis=2), np.mean(wins, axis=1)
    covariance = np.cov(by_member) / members + np.cov(by_nonmember) / nonmembers
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    value = roc_auc_score(member, a) - roc_auc_score(member, b)
    got, p = paired_auc(a, b, member)
    assert got.value == pytest.approx(value, abs=1e-12)
    assert got.low == pytest.approx(max(value - norm.ppf(0.975) * error, -1))
    assert got.high == pytest.approx(min(value + norm.ppf(0.975) * error, 1))
    assert p == pytest.approx(2 * norm.sf(abs(value) / error))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), members=st.integers(2, 15), nonmembers=st.integers(2, 15), digits=st.integers(0, 2))
def test_the_paired_test_is_antisymmetric_and_sees_ranks_alone(
    seed: int, members: int, nonmembers: int, digits: int
) -> None:
    a, b, member = two_attacks(seed, members, nonmembers, digits=digits)
    (one, p), (other, q) = paired_auc(a, b, member), paired_auc(b, a, member)
    assert -1 <= one.low <= one.value <= one.high <= 1 and 0 <= p <= 1
    assert [one.value, one.low, one.high, p] == pytest.approx([-other.value, -other.high, -other.low, q], abs=1e-9)
    assert paired_auc(np.exp(3 * a), b, member) == (one, p)
    same, certain = paired_auc(a, 2 * a + 1, member)
    assert (same.value, same.low, same.high, certain) == (0, 0, 0, 1)


def test_against_a_score_that_knows_nothing_the_interval_is_that_of_the_auc() -> None:
    score, _, member = two_attacks(2, 60, 40)
    value, error = auc(score, member).value - 0.5, delong_error(*placements(score, member))
    against, _ = paired_auc(score, np.zeros(100), member)
    assert [against.low, against.high] == pytest.approx([value - 1.96 * error, value + 1.96 * error], abs=1e-5)


def test_unanimous_images_give_the_sign_test_and_no_certainty() -> None:
    member = np.arange(30) < 10
    best, worst, blank = member.astype(float), -member.astype(float), np.zeros(30)
    bound = 0.025 ** (1 / 10)
    found, p = paired_auc(best, worst, member)
    assert (found.value, found.high, p) == (1, 1, 2 * 0.5**10) and found.low == pytest.approx(2 * bound - 1)
    half, p = paired_auc(best, blank, member)
    assert half.value == 0.5 and p == 2 * 0.5**10 and half.low == pytest.approx(1.5 * bound - 1)
    with pytest.raises(InputError, match="at least 2 members and 2 non-members, got 1 and 29"):
        paired_auc(best, worst, np.arange(30) < 1)


def test_equal_attacks_differ_no_more_often_than_promised_and_unequal_ones_do() -> None:
    equal = np.array([paired_auc(*two_attacks(seed, 150, 150, digits=12))[1] for seed in range(600)])
    assert np.mean(equal < 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)
    assert np.mean(equal < 0.5) == pytest.approx(0.5, abs=3 * math.sqrt(0.25 / 600))
    found = [paired_auc(*two_attacks(seed, 150, 150, (1.5, 0.5)))[0] for seed in range(20)]
    assert all(one.low > 0 for one in found)

"""The lower bound on epsilon: against mechanisms of known epsilon, and against a loop over the pairs."""

import math

import numpy as np
import pytest
from scipy.stats import beta

from lpla.metrics.epsilon import EpsilonBound, contradictions, epsilon_bound


def responses(random: np.random.Generator, epsilon: float, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores +-1 of members and non-members by randomised response: exchanging two images costs `epsilon` exactly."""
    right = math.exp(epsilon / 2) / (1 + math.exp(epsilon / 2))
    member = np.arange(2 * images) < images
    truthful = random.random(2 * images) < right
    return np.where(truthful == member, 1.0, -1.0), member


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0, 2.0])
def test_it_exceeds_a_known_epsilon_in_one_run_of_twenty_at_most(epsilon: float) -> None:
    random = np.random.default_rng(1)
    bounds = [epsilon_bound(*responses(random, epsilon, 100), seed).low for seed in range(1000)]
    assert np.mean(np.array(bounds) > epsilon) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)
    if epsilon == 2.0:
        assert np.mean(bounds) > 0.5


def test_a_bound_that_counted_every_pair_as_its_choice_would_exceed_it() -> None:
    """The fault that fixing the number of guesses beforehand guards against: choosing it by the scores."""
    random, over = np.random.default_rng(2), 0
    for _ in range(200):
        score, member = random.normal(size=200), np.arange(200) < 100
        difference = score[member] - score[~member]
        right = np.cumsum(difference[np.argsort(-np.abs(difference))] > 0)
        best = max(beta.ppf(0.05, w, r - w + 1) for r, w in enumerate(right, start=1) if w)
        over += math.log(best / (1 - best)) > 0
    assert over / 200 > 0.1


@pytest.mark.wrong_types
def test_all_guesses_are_right_where_every_member_stands_above_every_nonmember() -> None:
    member = np.array([True] * 50 + [False] * 50)
    found = epsilon_bound(np.where(member, 1.0, 0.0) + np.linspace(0, 0.1, 100), member, 0)
    p = 0.05 ** (1 / 10)
    assert found == EpsilonBound(pytest.approx(math.log(p / (1 - p))), pytest.approx(math.log(p / (1 - p))), 10, 10)


@pytest.mark.parametrize(("pairs", "cap"), [(100, 1.82), (1000, 4.19)])
def test_the_cap_is_that_of_all_guesses_right(pairs: int, cap: float) -> None:
    member = np.arange(2 * pairs) < pairs
    assert epsilon_bound(np.zeros(2 * pairs), member, 0).cap == pytest.approx(cap, abs=0.005)


def test_equal_scores_and_scores_the_wrong_way_bound_nothing() -> None:
    member = np.arange(400) < 200
    assert epsilon_bound(np.zeros(400), member, 0).low < 0.5
    turned = epsilon_bound(np.where(member, 0.0, 1.0), member, 0)
    assert turned.low == 0.0 and turned.right == 0 and "contradict no epsilon" in str(turned)


def test_a_monotone_scale_may_change_who_is_guessed_but_a_shift_and_factor_do_not() -> None:
    random = np.random.default_rng(3)
    member = np.arange(300) % 2 == 0
    score = random.normal(size=300) + member
    assert epsilon_bound(score, member, 5) == epsilon_bound(4 * score + 8, member, 5)
    assert "contradict an epsilon below" in str(epsilon_bound(score + 3 * member, member, 5))


def test_a_bound_on_the_best_of_many_scores_pays_for_the_choice() -> None:
    """Of 20 rows without a leak the largest bound is above 0 in 6 of 10 audits, and in 5 % at most where it pays."""
    random, member = np.random.default_rng(4), np.arange(200) < 100
    free, paid = 0, 0
    for seed in range(300):
        rows = random.normal(size=(20, 200))
        free += max(epsilon_bound(row, member, seed).low for row in rows) > 0
        paid += max(epsilon_bound(row, member, seed, 20).low for row in rows) > 0
    assert free / 300 > 0.2 and paid / 300 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    planted = random.normal(size=200) + 3 * member
    one, many = epsilon_bound(planted, member, 0), epsilon_bound(planted, member, 0, 20)
    assert 0 < many.low < one.low and many.cap < one.cap and many.right == one.right


def test_a_bound_above_a_claim_is_said_and_none_is_where_there_is_no_claim() -> None:
    row = {"layer": "backbone", "attack": "lpla", "defense": "dp", "eps_low": 2.0}
    claims = [None, 2.0, 1.5, 0.0]
    found = contradictions([row | {"claimed_epsilon": claimed} for claimed in claims])
    assert [said.partition("epsilon of ")[2][:4] for said in found] == ["1.50", "0.00"]
    assert contradictions([row, row | {"claimed_epsilon": 1.0, "eps_low": None}]) == []

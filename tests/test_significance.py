"""The rank test against all memberships and against scipy, and Holm's procedure over the rows of a sweep."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm, rankdata
from sklearn.metrics import roc_auc_score

from lpla.contracts.inputs import InputError
from lpla.metrics.significance import holm, leak_test, rank_p_value, separation


@pytest.mark.parametrize(("members", "nonmembers"), [(1, 5), (4, 4), (5, 3), (3, 6)])
@pytest.mark.parametrize("digits", [1, 4])
def test_the_exact_rank_test_by_all_ways_to_place_the_members(members: int, nonmembers: int, digits: int) -> None:
    score = np.random.default_rng(members).integers(digits**2 + 1, size=members + nonmembers).astype(float)
    ranks = rankdata(score)
    placed = [np.isin(np.arange(len(score)), chosen) for chosen in combinations(range(len(score)), members)]
    sums = np.array([ranks[member].sum() for member in placed])
    for member, found in zip(placed, sums, strict=True):
        assert rank_p_value(score, member) == pytest.approx(np.mean(sums >= found - 1e-9))


@pytest.mark.parametrize(("members", "nonmembers"), [(19, 20), (20, 20), (100, 30), (4, 400)])
def test_the_rank_test_is_mann_and_whitneys(members: int, nonmembers: int) -> None:
    member = np.arange(members + nonmembers) < members
    score = np.random.default_rng(0).normal(0.4 * member)
    exact = members + nonmembers < 40
    for one in (score, np.round(score)):
        if exact and len(np.unique(one)) < len(one):
            continue  # scipy's exact test knows no ties; the test above does.
        expected = mannwhitneyu(one[member], one[~member], alternative="greater", use_continuity=False,
                                method="exact" if exact else "asymptotic")  # fmt: skip
        assert rank_p_value(one, member) == pytest.approx(expected.pvalue)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 999), members=st.integers(1, 30), nonmembers=st.integers(1, 30), digits=st.integers(0, 2))
def test_the_tests_see_ranks_alone_and_mirror(seed: int, members: int, nonmembers: int, digits: int) -> None:
    member = np.arange(members + nonmembers) < members
    score = np.round(np.random.default_rng(seed).normal(size=len(member)), digits)
    one = leak_test(score, member)
    assert leak_test(np.exp(3 * score) + 1, member) == one
    assert 0 < one.p_rank <= 1 and 0 <= one.p_tail <= 1 and one.p == min(1, 2 * min(one.p_rank, one.p_tail))
    assert separation(-score, member) == pytest.approx(-one.separation)
    assert np.sign(one.separation) == np.sign(round(float(roc_auc_score(member, score)) - 0.5, 9))
    assert one.p_backwards == rank_p_value(-score, member) and not (one.leaks and (one.backwards or one.doubtful))
    # Both tails hold what was seen.
    assert one.p_rank + rank_p_value(-score, member) >= 1 - 1e-9


def test_the_normal_law_joins_the_exact_one() -> None:
    for members in (10, 19, 25):
        member, score = np.arange(39) < members, np.random.default_rng(members).normal(size=39)
        assert rank_p_value(score, member) == pytest.approx(float(norm.sf(separation(score, member))), abs=0.02)
    with pytest.raises(InputError, match="at least one member and one non-member"):
        rank_p_value(score, np.ones(39, dtype=bool))


def test_holm_by_its_steps() -> None:
    p = [0.04, 0.001, 0.5, 0.012, 0.012]
    adjusted = holm(p)
    np.testing.assert_allclose(adjusted, [0.08, 0.005, 0.5, 0.048, 0.048])
    assert holm([0.9, 0.8]).tolist() == [1, 1] and holm([]).tolist() == []


def test_twenty_rows_without_a_leak_seldom_have_one_by_holm_and_often_by_themselves() -> None:
    member = np.arange(80) < 40
    random, rounds = np.random.default_rng(0), 100
    alone = together = 0
    for _ in range(rounds):
        tests = [leak_test(random.normal(size=80), member) for _ in range(20)]
        alone += any(test.leaks for test in tests)
        together += bool((holm([test.p for test in tests]) < 0.05).any())
    assert together <= 0.05 * rounds + 3 * np.sqrt(0.05 * 0.95 * rounds) and alone > 0.2 * rounds

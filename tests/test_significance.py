"""The rank test against all memberships and against scipy, and Holm's procedure over the rows of a sweep."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import hypergeom, mannwhitneyu, norm, rankdata
from sklearn.metrics import roc_auc_score

from lpla.contracts.inputs import InputError
from lpla.metrics import permuted_sums
from lpla.metrics.permuted_sums import doubled_ranks
from lpla.metrics.significance import BACKWARDS, LEVEL, holm, leak_test, rank_p_value, separation


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
    for one in (score, np.round(score, 2)):
        if exact and len(np.unique(one)) < len(one):
            continue  # scipy's exact test knows no ties; the test above does.
        expected = mannwhitneyu(one[member], one[~member], alternative="greater", use_continuity=False,
                                method="exact" if exact else "asymptotic")  # fmt: skip
        assert rank_p_value(one, member) == pytest.approx(expected.pvalue)


def test_the_rank_test_of_tied_scores_of_unequal_groups_is_exact() -> None:
    """Those of a hostile tester: .012 and 1.4e-7 by the normal law."""
    found = rank_p_value(np.r_[np.ones(5), np.zeros(195)], np.arange(200) < 100)
    assert found == pytest.approx(hypergeom.sf(4, 200, 5, 100)) and found == pytest.approx(0.0297, abs=1e-4)
    few = np.r_[1.0, 0, 0, np.ones(5), np.zeros(495)]
    assert rank_p_value(few, np.arange(503) < 3) == pytest.approx(1 - 497 * 496 * 495 / (503 * 502 * 501))
    assert not leak_test(few, np.arange(503) < 3).leaks


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize(("members", "nonmembers"), [(3, 60), (30, 15), (25, 25)])
@pytest.mark.parametrize("sign", [1, -1])
def test_hypergeometric_counted_and_drawn_p_values_agree(
    members: int, nonmembers: int, sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, random = np.arange(members + nonmembers) < members, np.random.default_rng(members)
    for most in (1, 3, 500):
        numbers = sign * doubled_ranks(random.integers(most + 1, size=len(member)) + 0.3 * most * member)
        exact = permuted_sums.sum_p_value(numbers, member)
        slow = np.array([random.permutation(numbers)[member].sum() for _ in range(4000)]) >= numbers[member].sum()
        assert exact == pytest.approx(slow.mean(), abs=4 * np.sqrt(0.25 / 4000))
        for few in (permuted_sums.FEW, 0):
            monkeypatch.setattr(permuted_sums, "COUNTED", 0)
            monkeypatch.setattr(permuted_sums, "FEW", few)
            drawn = permuted_sums.sum_p_value(numbers, member)
            assert drawn == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 9999))
            # Drawn memberships alone say no less than 1e-4; a bound may, and is no lower than the truth.
            assert drawn >= min(1e-4, exact)
            assert drawn == permuted_sums.sum_p_value(numbers, member)
            monkeypatch.undo()


def test_by_labels_tied_scores_of_many_images_can_be_backwards() -> None:
    """Drawn memberships bottomed out at 1e-4, .0066 by labels: "so few may do by chance", said of 200 against 200."""
    member, random = np.arange(400) < 200, np.random.default_rng(0)
    apart = leak_test(-(4.0 * member + random.integers(0, 4, 400)), member, 1.5)
    assert apart.backwards and apart.doubtful is None and not apart.leaks
    # None is doubtful, as another order of so many would be backwards without a doubt.
    shifted = leak_test(-(1.0 * member + random.integers(0, 8, 400)), member, 1.5)
    assert shifted.doubtful is None


def test_counting_two_values_is_the_hypergeometric_law() -> None:
    member, numbers = np.arange(60) < 20, np.random.default_rng(0).permutation(np.arange(60) < 9).astype(np.int64)
    ways = permuted_sums._ways(numbers, 20, 9)
    np.testing.assert_allclose(ways / ways.sum(), hypergeom.pmf(np.arange(10), 60, 9, 20), atol=1e-12)
    seen = int(numbers[member].sum())
    assert permuted_sums.sum_p_value(numbers, member) == pytest.approx(ways[seen:].sum() / ways.sum())


TIED: dict[tuple[int, int], Callable[[np.random.Generator, int], np.ndarray]] = {
    (20, 2000): lambda random, images: random.random(images) < 0.005,
    (3, 500): lambda random, images: random.random(images) < 0.02,
    (5, 60): lambda random, images: random.random(images) < 0.01,
    (50, 1000): lambda random, images: random.random(images) < 0.01,
    (5, 300): lambda random, images: random.poisson(0.1, images),
    (60, 60): lambda random, images: random.integers(4, size=images),
}


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("groups", TIED, ids=str)
def test_tied_scores_without_a_leak_are_called_leaking_or_backwards_no_more_often_than_is_said(
    groups: tuple[int, int],
) -> None:
    """By the normal law .087, .059, .046, .045 of the first four leak, and .052 of the second are backwards."""
    random, rounds, member = np.random.default_rng(1), 300, np.arange(sum(groups)) < groups[0]
    drawn = [TIED[groups](random, len(member)).astype(float) for _ in range(rounds)]
    up, down = (np.array([rank_p_value(sign * score, member) for score in drawn]) for sign in (1, -1))
    for level in (LEVEL, 0.05):
        most = level * rounds + 3 * np.sqrt(level * rounds)
        assert (up < level).sum() <= most and (down < level).sum() <= most
    assert (down < BACKWARDS).sum() <= 1 and (up < BACKWARDS).sum() <= 1


@pytest.mark.parametrize(("members", "nonmembers"), [(3, 500), (20, 20), (300, 300), (1000, 30)])
def test_scores_without_ties_or_with_few_keep_the_normal_law_to_the_bit(members: int, nonmembers: int) -> None:
    member = np.arange(members + nonmembers) < members
    score = np.random.default_rng(2).normal(size=len(member))
    for one in (score, np.round(score, 2), *([np.maximum(score, 1)] if members == nonmembers == 300 else [])):
        assert rank_p_value(one, member) == float(ndtr(-separation(one, member)))


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


@pytest.mark.slow
@pytest.mark.parallel
def test_twenty_rows_without_a_leak_seldom_have_one_by_holm_and_often_by_themselves() -> None:
    member = np.arange(80) < 40
    random, rounds = np.random.default_rng(0), 100
    alone = together = 0
    for _ in range(rounds):
        tests = [leak_test(random.normal(size=80), member) for _ in range(20)]
        alone += any(test.leaks for test in tests)
        together += bool((holm([test.p for test in tests]) < 0.05).any())
    assert together <= 0.05 * rounds + 3 * np.sqrt(0.05 * 0.95 * rounds) and alone > 0.2 * rounds

"""The nulls of scores: the error of each is its own, so that sound audits are hardly ever distrusted."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.plan import Plan
from lpla.metrics.nulls import (
    COLUMNS,
    Departure,
    farthest,
    fresh_images,
    permuted,
    permuted_membership,
    shadows_rows,
)
from lpla.metrics.roc import auc
from lpla.metrics.significance import separation


def groups(seed: int, images: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(images) < images // 2


def test_permuted_moves_whole_columns_among_candidates_and_among_the_others() -> None:
    random = np.random.default_rng(6)
    inside = random.random((7, 2000)) < 0.5
    inside[2::2] = ~inside[1::2]
    candidates = random.permutation(2000) < 1200
    before = inside.copy()
    drawn = permuted(inside, candidates, 1)
    np.testing.assert_array_equal(inside, before)
    for group in (candidates, ~candidates):
        columns, moved = (sorted(map(tuple, rows[:, group].T.tolist())) for rows in (inside, drawn))
        assert columns == moved
    np.testing.assert_array_equal(drawn, permuted(inside, candidates, 1))
    assert not np.array_equal(drawn, permuted(inside, candidates, 2))
    for truth, shuffled in zip(inside, drawn, strict=True):
        assert abs(np.corrcoef(truth, shuffled)[0, 1]) < 4 / math.sqrt(2000)


@pytest.mark.parametrize("permutation", range(3))
def test_permuted_membership_is_not_the_split_s_own_draw(tiny: Callable[..., Plan], permutation: int) -> None:
    """Permutation 1 was always the first half of the pool: the split draws the target's members by the same numbers."""
    plan = tiny()
    run = AttackRun.__new__(AttackRun)
    run.plan = plan
    member = run.membership(plan.encoders.target, permutation)
    assert member.sum() == len(member) // 2
    assert 0.2 < member[: len(member) // 2].mean() < 0.8


def test_fresh_images_are_compared_by_the_rank_test() -> None:
    random = np.random.default_rng(0)
    z = []
    for _ in range(300):
        score, fresh = random.normal(size=100), random.normal(size=80).round(1)
        found = fresh_images(score, fresh)
        assert found.auc == pytest.approx(mannwhitneyu(score, fresh).statistic / 8000)
        z.append(found.z)
    assert np.std(z) == pytest.approx(1, rel=0.15) and not Departure(0.5, max(z, key=abs)).distrust
    assert fresh_images(random.normal(size=100) + 1, random.normal(size=100)).distrust


def test_the_mean_of_permutations_has_the_error_of_a_mean_and_of_the_columns_they_keep() -> None:
    error = math.sqrt(101 / (12 * 50 * 50))
    found = permuted_membership([0.5, 0.6, 0.55, 0.55], 50, 50)
    assert found.auc == pytest.approx(0.55)
    assert found.z == pytest.approx(0.05 / math.sqrt(error**2 / 4 + COLUMNS * error**2))
    assert not permuted_membership([0.5 + error], 50, 50).distrust and permuted_membership([0.6] * 20, 50, 50).distrust
    assert permuted_membership([0.5, 0.6, 0.55, 0.55], 50, 50, 1.5).z == pytest.approx(found.z / 1.5)


def dependent_scores(seed: int, member: np.ndarray, shadows: int) -> np.ndarray:
    """Of shadows in complementary pairs, which leak, and of which all see the same images alike."""
    random = np.random.default_rng([seed, 7])
    common, score = random.normal(size=len(member)), []
    for _ in range(shadows // 2):
        row = random.permutation(len(member)) < len(member) // 2
        score += [common + 2 * side + random.normal(size=len(member)) for side in (row, ~row)]
    return np.stack(score)


def test_the_shadows_scores_are_ranked_one_by_one_and_all_together() -> None:
    member = groups(0, 60)
    score = dependent_scores(0, member, 4)
    areas = [auc(one, member).value for one in score]
    found = shadows_rows(score, member)
    assert any(found.auc == pytest.approx(one) for one in [*areas, np.mean(areas)])
    assert abs(found.auc - 0.5) >= abs(np.mean(areas) - 0.5)
    alone = shadows_rows(score[:1], member)
    assert alone.auc == pytest.approx(areas[0]) and alone.z == pytest.approx(separation(score[0], member))
    leaking = np.vstack([score, 3 * member + np.random.default_rng(1).normal(size=60)])
    assert shadows_rows(leaking, member).distrust and shadows_rows(leaking, member).auc > 0.9
    # A little in every shadow: none alone says so.
    little = np.random.default_rng(3).normal(size=(40, 60)) + 0.25 * member
    assert shadows_rows(little, member).distrust
    assert not any(shadows_rows(one[None], member).distrust for one in little)


@pytest.mark.parametrize("shadows", [2, 8])
def test_the_shadows_scores_of_sound_audits_are_hardly_ever_distrusted(shadows: int) -> None:
    rounds, called, mild = 600, 0, 0
    for seed in range(rounds):
        member = groups(seed, 80)
        found = shadows_rows(dependent_scores(seed, member, shadows), member)
        called += found.distrust
        mild += abs(found.z) > 2.8
    assert called <= 3  # 0.6 expected
    assert mild < rounds * 0.02


def test_the_farthest_column_is_that_of_the_smallest_mann_whitney_p_value() -> None:
    random, called = np.random.default_rng(2), set()
    for strength in (0, 1, 2, 3, 4, 6):
        member = groups(strength, 120)
        # A few values only, so that there are ties.
        table = (random.integers(0, 6, (120, 5)) + 0.4 * strength * member[:, None] * (np.arange(5) == 2)).round()
        tests = [mannwhitneyu(c[member], c[~member], use_continuity=False, method="asymptotic") for c in table.T]
        p = np.array([test.pvalue for test in tests])
        got = farthest(table, list("abcde"), member)
        assert got.feature == "abcde"[int(p.argmin())]
        assert got.auc == pytest.approx(auc(table[:, p.argmin()], member).value)
        assert got.distrust == (p.min() < 0.01 / 5)
        called.add(got.distrust)
    assert called == {True, False}
    flat = farthest(np.full((20, 2), 7.0), "ab", groups(0, 20))
    assert flat.auc == 0.5 and not flat.distrust


@pytest.mark.parametrize("groups", [(3, 500), (20, 1000)], ids=str)
def test_nulls_of_tied_scores_and_unequal_groups_are_seldom_distrusted(groups: tuple[int, int]) -> None:
    """By the normal law .05 of the first are 3.29 standard errors off, which is promised of .001."""
    random, member, rounds = np.random.default_rng(5), np.arange(sum(groups)) < groups[0], 60
    tied = [(random.random((3, len(member))) < 0.02).astype(float) for _ in range(rounds)]
    assert sum(fresh_images(one[0, member], one[0, ~member]).distrust for one in tied) <= 1
    assert sum(shadows_rows(one, member).distrust for one in tied) <= 1
    assert sum(farthest(one.T, ("a", "b", "c"), member).distrust for one in tied) <= 3
    # What is there is found still.
    assert (
        fresh_images(np.ones(groups[0]), tied[0][0, ~member]).distrust
        and shadows_rows(tied[0] + member, member).distrust
    )
    assert farthest((tied[0] + member).T, ("a", "b", "c"), member).distrust

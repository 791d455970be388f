"""Figures of a recipe over its encoders as targets: by slow loops, by simulation, and calibrated without a leak."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from lpla.attacks.planted import layout
from lpla.metrics.roc import auc
from lpla.metrics.rotation import (
    Pooled,
    Recipe,
    Rotation,
    auc_influence,
    pooled,
    rank_p_value,
    recipe,
    tpr_influence,
    two_way_errors,
)
from lpla.metrics.significance import LEVEL


def drawn(seed: int, targets: int = 3, images: int = 12, gap: float = 0.8) -> Rotation:
    """Scores with ties, of targets that leak by different amounts."""
    random = np.random.default_rng(seed)
    member = np.stack([random.permutation(images) < images // 2 for _ in range(targets)])
    gaps = gap * random.uniform(0, 2, (targets, 1))
    score = random.normal(size=images) + random.normal(size=(targets, images)) + gaps * member
    return Rotation(np.round(score, 1), member, random.permutation(1000)[:images])


def weighted_auc(one: Rotation, target_weight: np.ndarray, weight: np.ndarray) -> float:
    """The mean AUC where target t counts `target_weight[t]` times and its score of image i `weight[t, i]` times."""
    areas = []
    for score, member, own in zip(one.score, one.member, weight, strict=True):
        won = total = 0.0
        for i in np.flatnonzero(member):
            for j in np.flatnonzero(~member):
                won += own[i] * own[j] * ((score[i] > score[j]) + 0.5 * (score[i] == score[j]))
                total += own[i] * own[j]
        areas.append(won / total)
    return float(np.average(areas, weights=target_weight))


@pytest.mark.parametrize("seed", range(3))
def test_the_influence_on_the_mean_auc_is_its_derivative_by_a_score_s_and_by_a_target_s_weight(seed: int) -> None:
    one = drawn(seed)
    value, influence = auc_influence(pooled([one]))
    table = influence.reshape(one.score.shape)
    ones, step = np.ones(one.score.shape), 1e-5
    assert value == pytest.approx(weighted_auc(one, np.ones(3), ones))
    of_target = np.zeros(3)
    for t in range(3):
        moved = np.eye(3)[t] * step
        up, down = (weighted_auc(one, np.ones(3) + sign * moved, ones) for sign in (1, -1))
        of_target[t] = (up - down) / (2 * step)
        for i in range(one.score.shape[1]):
            at = np.zeros(ones.shape)
            at[t, i] = step
            up, down = (weighted_auc(one, np.ones(3), ones + sign * at) for sign in (1, -1))
            assert table[t, i] == pytest.approx((up - down) / (2 * step) + of_target[t] / 12, abs=1e-7)
    assert table.sum(axis=1) == pytest.approx(of_target, abs=1e-8)
    areas = [auc(s, m).value for s, m in zip(one.score, one.member, strict=True)]
    assert table.sum(axis=1) == pytest.approx((np.array(areas) - np.mean(areas)) / 3)


def test_the_errors_by_loops_over_images_and_targets() -> None:
    rotations = [drawn(0), drawn(1), drawn(0, targets=2)]
    pool = pooled(rotations)
    random = np.random.default_rng(0).normal(size=len(pool.score))
    by_image: dict[int, float] = {}
    by_target, cell, place = [], 0.0, 0
    for one in rotations:
        for target in range(len(one.score)):
            by_target.append(0.0)
            for column in range(len(one.index)):
                assert pool.score[place] == one.score[target, column]
                assert pool.member[place] == one.member[target, column]
                identity = int(one.index[column])
                by_image[identity] = by_image.get(identity, 0.0) + random[place]
                by_target[-1] += random[place]
                cell += random[place] ** 2
                place += 1
    image = sum(total**2 for total in by_image.values())
    target = sum(total**2 for total in by_target) * 8 / 7
    two_way = math.sqrt(max(image + target - cell, image, target))
    assert two_way_errors(pool, random) == pytest.approx((two_way, math.sqrt(image + target)))


def test_the_influence_on_a_rate_gives_its_spread_over_fresh_images_and_so_allows_for_the_threshold() -> None:
    random = np.random.default_rng(3)
    found, errors = [], []
    for _ in range(400):
        member = np.arange(1000) < 500
        one = Rotation(random.normal(1.5 * member)[None], member[None], np.arange(1000))
        value, influence = tpr_influence(pooled([one]), 0.05)
        found.append(value)
        errors.append(math.sqrt((influence**2).sum()))
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)
    # Without the threshold's own error it would be that of a binomial, which is too small.
    share = float(np.mean(found))
    assert np.std(found) > 1.3 * math.sqrt(share * (1 - share) / 500)


@given(st.integers(0, 1000), st.integers(2, 4))
@settings(max_examples=30, deadline=None)
def test_order_and_scale_of_scores_do_not_matter_and_the_other_sign_mirrors_them(seed: int, targets: int) -> None:
    one, random = drawn(seed, targets, 40), np.random.default_rng(seed)
    rows, columns = random.permutation(targets), random.permutation(40)
    moved = Rotation(np.exp(one.score[rows][:, columns]), one.member[rows][:, columns], one.index[columns])
    for figure in (auc_influence, lambda pool: tpr_influence(pool, 0.1)):
        (value, influence), (again, of_moved) = figure(pooled([one])), figure(pooled([moved]))
        assert value == pytest.approx(again)
        assert two_way_errors(pooled([one]), influence) == pytest.approx(two_way_errors(pooled([moved]), of_moved))
    mirrored = pooled([Rotation(-one.score, one.member, one.index)])
    (value, influence), (other, of_other) = auc_influence(pooled([one])), auc_influence(mirrored)
    assert value == pytest.approx(1 - other)
    assert two_way_errors(mirrored, of_other) == pytest.approx(two_way_errors(pooled([one]), influence))
    two_way, conservative = two_way_errors(pooled([one]), influence)
    assert two_way <= conservative * (1 + 1e-12)


def test_an_image_is_known_again_in_an_audit_of_another_seed() -> None:
    one, elsewhere = drawn(0, 4, 60), drawn(0, 4, 60)
    elsewhere = Rotation(elsewhere.score, elsewhere.member, elsewhere.index + 1000)

    def of_images(pool: Pooled) -> float:
        return float((np.bincount(pool.image, auc_influence(pool)[1]) ** 2).sum())

    alone, same, others = (of_images(pooled(each)) for each in ([one], [one, one], [one, elsewhere]))
    assert same == pytest.approx(alone) and others == pytest.approx(alone / 2)
    assert recipe([one, elsewhere]).targets == 8


def verdict_of(score: np.ndarray, member: np.ndarray) -> Recipe:
    return recipe([Rotation(score, member, np.arange(score.shape[1]))])


def test_the_verdict_needs_the_test_and_the_interval() -> None:
    random = np.random.default_rng(0)
    member = layout(0, 4, 200)
    noise = random.normal(size=member.shape)
    leaks = verdict_of(noise + 2 * member, member)
    assert leaks.verdict.startswith("recipe leaks: AUC 0.9") and leaks.p is not None and leaks.p < 1e-9
    assert leaks.tpr_at_1pct is not None and leaks.tpr_at_5pct is not None
    assert leaks.tpr_at_1pct.value < leaks.tpr_at_5pct.value
    assert verdict_of(noise, member).verdict.startswith("no leak of the recipe found at this sample size: AUC 0.")
    # One target of five leaks all it has: the pooled test is sure, but the next target may be one of the others.
    single = verdict_of(noise + 9 * member * (np.arange(5) == 2)[:, None], member)
    assert single.p is not None and single.p < 1e-9 and single.verdict.startswith("no leak of the recipe found")


def test_a_leak_in_all_ranks_that_the_highest_scores_do_not_show_is_one_of_the_recipe() -> None:
    random = np.random.default_rng(1)
    member = layout(1, 4, 200)
    # Every eighth non-member has a score of its own above all others, so that nobody is named at 5 %.
    shown = (random.random(member.shape) < 1 / 8) & ~member
    found = verdict_of(random.normal(size=member.shape) + 1.2 * member + 9 * shown, member)
    assert found.p is not None and found.p > 0.5 and found.p_rank is not None and found.p_rank < 1e-3
    assert found.tpr_at_5pct is not None and found.tpr_at_5pct.high < 0.05 and found.auc.low > 0.5
    assert found.verdict.startswith("recipe leaks: AUC 0.") and found.verdict.endswith("; the rank test decides")
    tail = verdict_of(random.normal(size=member.shape) + 9 * member * (random.random(member.shape) < 0.15), member)
    assert tail.verdict.startswith("recipe leaks") and tail.verdict.endswith("; the tail test decides")


@pytest.mark.parametrize("seed", range(3))
def test_the_rank_test_is_that_of_every_target_s_orders(seed: int) -> None:
    one = drawn(seed, targets=2, images=6, gap=0.3)
    by_target = []
    for score, member in zip(one.score, one.member, strict=True):
        orders = [np.isin(np.arange(6), inside) for inside in combinations(range(6), int(member.sum()))]
        by_target.append([auc(score, order).value for order in orders])
    seen = sum(auc(s, m).value for s, m in zip(one.score, one.member, strict=True))
    exact = np.mean(np.add.outer(*by_target) >= seen - 1e-9)
    # 9,999 of them are drawn.
    assert rank_p_value(pooled([one])) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 9_999) + 2e-4)
    equal = Rotation(np.array([[1.0] * 6, [2.0] * 6]), one.member, one.index)
    assert rank_p_value(pooled([equal])) == 1


def test_the_rank_test_of_many_images_is_that_of_the_normal_law() -> None:
    """And hardly another one where a target with few images stands beside them."""
    random, member = np.random.default_rng(0), np.arange(60) < 30
    many = Rotation(random.normal(size=(2, 60)) + 0.3 * member, np.stack([member] * 2), np.arange(60))
    areas = [auc(score, member).value - 0.5 for score in many.score]
    expected = float(norm.sf(sum(areas) / math.sqrt(2 * 61 / (12 * 30 * 30))))
    assert rank_p_value(pooled([many])) == pytest.approx(expected)
    few = Rotation(np.ones((1, 4)), np.array([[True, True, False, False]]), np.arange(4))
    assert rank_p_value(pooled([many, few])) == pytest.approx(expected, abs=0.01)


FEW_OR_TIED = {
    "3 against 60, one of them high": (3, 60, 1),
    "2 against 200, five high": (2, 200, 5),
    "4 a side": (4, 4, 0),
}


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("groups", FEW_OR_TIED)
def test_few_images_and_heavy_ties_do_not_make_the_rank_test_alarm(groups: str) -> None:
    """By the normal law .14, .14 and .015 of targets without a leak were below .0125."""
    m, n, high = FEW_OR_TIED[groups]
    below, rounds = 0, 300
    for seed in range(rounds):
        random = np.random.default_rng([seed, m])
        member = np.stack([random.permutation(m + n) < m for _ in range(3)])
        score = random.normal(size=member.shape)
        if high:
            score = np.argsort(np.argsort(score, axis=1), axis=1) >= m + n - high
        below += rank_p_value(pooled([Rotation(score.astype(float), member, np.arange(m + n))])) < LEVEL
    assert below <= LEVEL * rounds + 3 * math.sqrt(LEVEL * rounds)


def test_an_interval_above_one_half_does_not_stand_beside_no_leak_but_within_the_margin_of_two_tests() -> None:
    """The fault that this guards against: the verdict looked at the rate alone, whatever the AUC said."""
    for seed in range(40):
        random, member = np.random.default_rng(seed), layout(seed, 4, 200)
        found = verdict_of(random.normal(size=member.shape) + 0.4 * member, member)
        above = math.log(found.auc.value / (1 - found.auc.value))
        low = above - (above - math.log(found.auc.low / (1 - found.auc.low))) * 2.2414 / 1.96
        if low > 1e-3:
            assert found.verdict.startswith("recipe leaks"), seed


def test_without_a_possible_test_the_recipe_is_undecided() -> None:
    member = layout(0, 2, 60)
    few = verdict_of(np.random.default_rng(0).normal(size=member.shape), member)
    assert few.verdict == (
        "recipe undecided: at 5% FPR all targets need at least 100 non-members together, got 90"
    ) and few.p is few.tpr_at_5pct is few.tpr_at_1pct is None  # fmt: skip
    member = layout(0, 4, 40)
    equal = verdict_of(np.zeros(member.shape), member)
    assert equal.verdict == "recipe undecided: no test is possible, as all scores are equal" and equal.p is None
    assert equal.tpr_at_5pct is not None and equal.tpr_at_5pct.value == 0


def test_where_all_members_stand_above_all_others_the_interval_is_that_of_one_target_s_images() -> None:
    member = layout(0, 4, 40)
    found = verdict_of(member.astype(float), member)
    assert (found.auc.value, found.auc.high) == (1, 1) and found.auc.low == pytest.approx(0.025 ** (1 / 20))

"""The nulls: silent on groups drawn alike, loud where the split or the views tell the groups apart."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.datasets import load_digits

from lpla.auditing import judge
from lpla.auditing.attack_run import AttackRun
from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError, Views
from lpla.data.augment.apply import augment, clean
from lpla.data.pixels import SUMMARIES, summaries
from lpla.extraction.query import query_views
from lpla.metrics.nulls import (
    VIEW_SUMMARIES,
    BlindResult,
    farthest,
    nonmember_auc,
    parity_auc,
    permuted,
    view_summaries,
)
from lpla.metrics.roc import auc

CROPS = Views(crop_scale=(0.4, 1.0), crop_ratio=(0.75, 1.333), flip=0.5)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    grey, _ = load_digits(return_X_y=True)
    return np.round(grey * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)


def blind(pixels: np.ndarray, member: np.ndarray) -> BlindResult:
    return farthest(summaries(pixels), SUMMARIES, member)


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


def test_two_halves_of_the_non_members_do_not_see_the_members() -> None:
    random = np.random.default_rng(0)
    member = groups(1, 400)
    score = random.normal(size=400) + 5.0 * member
    one = nonmember_auc(score, member, 0)
    assert one == nonmember_auc(np.where(member, 0.0, score), member, 0) != nonmember_auc(score, member, 1)
    found = np.array([nonmember_auc(score, member, seed).value for seed in range(300)])
    error = math.sqrt(201 / (12 * 100 * 100))
    assert abs(found.mean() - 0.5) < 3 * error / math.sqrt(300)
    assert found.std() == pytest.approx(error, rel=0.15)
    with pytest.raises(InputError, match="at least 2 non-members, got 1"):
        nonmember_auc(score, np.arange(400) > 0, 0)


def test_the_blind_baseline_is_the_farthest_summary_with_its_mann_whitney_test() -> None:
    random = np.random.default_rng(2)
    called = set()
    for strength in (0, 1, 2, 3, 4, 6):
        member = groups(strength, 120)
        # A few grey levels only, so that there are ties.
        pixels = (random.integers(0, 3, (120, 1, 3, 3)) + strength * 0.1 * member[:, None, None, None]).astype(np.uint8)
        pixels[member, 0, 0, 0] += strength // 3
        table = summaries(pixels)
        tests = [mannwhitneyu(c[member], c[~member], use_continuity=False, method="asymptotic") for c in table.T]
        p = np.array([test.pvalue for test in tests])
        got = blind(pixels, member)
        assert got.feature == SUMMARIES[int(p.argmin())]
        assert got.auc == pytest.approx(auc(table[:, p.argmin()], member).value)
        assert got.distrust == (p.min() < 0.01 / 5)
        called.add(got.distrust)
    assert called == {True, False}


def test_equal_splits_of_real_images_are_hardly_ever_called_invalid(digits: np.ndarray) -> None:
    called = 0
    for seed in range(300):
        chosen = np.random.default_rng(seed).choice(len(digits), 200, replace=False)
        called += blind(digits[chosen], np.arange(200) < 100).distrust
    # 3 expected at most; three standard errors above it.
    assert called <= 3 + 3 * math.sqrt(300 * 0.01 * 0.99)


def test_brighter_members_are_caught() -> None:
    random = np.random.default_rng(3)
    member = groups(3, 1000)
    contrast, brightness = random.uniform(20, 60, (1000, 1, 1, 1)), random.normal(110, 12, (1000, 1, 1, 1))
    plain = brightness + contrast * random.normal(size=(1000, 3, 16, 16))
    brighter = plain + 8 * member[:, None, None, None]
    before, after = (blind(x.clip(0, 255).astype(np.uint8), member) for x in (plain, brighter))
    assert not before.distrust
    assert after.distrust and after.auc > 0.6 and after.feature in ("mean", "l2_norm")


def test_images_that_are_all_one_tell_nothing() -> None:
    got = blind(np.full((20, 1, 4, 4), 7, dtype=np.uint8), groups(0, 20))
    assert got.auc == 0.5 and not got.distrust


def test_view_summaries_equal_a_slow_loop() -> None:
    views = np.random.default_rng(4).integers(0, 256, (3, 4, 2, 5, 5), dtype=np.uint8)
    for image, row in zip(views.astype(float), view_summaries(views), strict=True):
        norms = np.mean([math.sqrt((view**2).sum()) for view in image])
        within = np.mean([view.std() for view in image])
        between = np.mean([image[:, c, y, x].std() for c in range(2) for y in range(5) for x in range(5)])
        across = [abs(v[c, y, x + 1] - v[c, y, x]) for v in image for c in range(2) for y in range(5) for x in range(4)]
        down = [abs(v[c, y + 1, x] - v[c, y, x]) for v in image for c in range(2) for y in range(4) for x in range(5)]
        np.testing.assert_allclose(row, [norms, within, between, np.mean(across) + np.mean(down)])
    assert view_summaries(views[:, :1, :, :1, :1])[:, 2:].max() == 0


def sent(digits: np.ndarray, seed: int, queries: int, spec: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """100 scans and the views of them that an audit sends: the clean one, then random ones."""
    index = torch.from_numpy(np.random.default_rng(seed).choice(len(digits), 100, replace=False))
    pixels = torch.from_numpy(digits)[index]
    random = [augment(pixels, spec, seed, index, q) for q in range(1, queries + 1)]
    return pixels, torch.stack(random, dim=1)


@pytest.mark.parametrize("queries", [1, 3])
def test_cropped_members_against_resized_non_members_are_caught(digits: np.ndarray, queries: int) -> None:
    member = np.arange(100) < 50
    for seed in range(5):
        pixels, views = sent(digits, seed, queries, CROPS)
        outside = torch.from_numpy(~member)
        views[outside] = clean(pixels)[outside][:, None]
        got = parity_auc(view_summaries(views.numpy()), member)
        assert got.distrust and got.feature in VIEW_SUMMARIES and abs(got.auc - 0.5) > 0.25
        if queries > 1:
            assert got.feature == "between_views" and got.auc == 1


def test_equal_transforms_are_hardly_ever_called_different(digits: np.ndarray) -> None:
    called = 0
    for seed in range(100):
        _, views = sent(digits, seed, 3, CROPS)
        called += parity_auc(view_summaries(views.numpy()), np.arange(100) < 50).distrust
    assert called <= 1 + 3 * math.sqrt(100 * 0.01 * 0.99)


def test_the_views_that_were_sent_are_summarised_once_for_all_layers_norms_and_budgets(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counting(pixels: torch.Tensor, *others) -> torch.Tensor:
        made.append(len(pixels))
        return query_views(pixels, *others)

    judge._sent_summaries.cache_clear()
    monkeypatch.setattr(judge, "query_views", counting)
    found = []
    for settings in (("p=1",), ("p=2", "queries=2"), ("seed=1",)):
        plan = tiny(*settings)
        member = plan.encoders.target.inside[plan.judged]
        found += [judge._parity(plan, member) for _ in plan.layers]
        index = torch.from_numpy(plan.membership.index[plan.judged])
        views = query_views(plan.images.pixels[index], index, plan.encoders.target.observations[0].query)
        slow = parity_auc(view_summaries(views.unflatten(0, (-1, len(index))).transpose(0, 1).numpy()), member)
        assert slow.feature == found[-1].feature and slow.auc == pytest.approx(found[-1].auc)
    assert made == [40, 40] and found[0] == found[3] != found[4]

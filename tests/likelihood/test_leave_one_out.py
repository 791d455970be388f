"""Which shadows judge a shadow, and which of its images mean something, in both layouts and for every likelihood."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.calibrated import Calibrated
from lpla.attacks.likelihood.leave_one_out import leave_one_out
from lpla.attacks.likelihood.offline import Offline
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError

IMAGES = 400
DISJOINT = ("offline", "hier", "rmia")


def halves(random: np.random.Generator, shadows: int, images: int) -> np.ndarray:
    rows = [random.permutation(images) < images // 2 for _ in range(shadows // 2)]
    return np.stack([row for half in rows for row in (half, ~half)])


def layout(seed: int, shadows: int, disjoint: bool) -> np.ndarray:
    """Row 0 the target. Disjoint: the first half of the images candidates, which no shadow holds."""
    random = np.random.default_rng(seed)
    if not disjoint:
        return np.concatenate([halves(random, 2, IMAGES)[:1], halves(random, shadows, IMAGES)])
    inside = np.zeros((1 + shadows, IMAGES), dtype=bool)
    inside[0, : IMAGES // 4] = True
    inside[1:, IMAGES // 2 :] = halves(random, shadows, IMAGES // 2)
    return inside


def planted(seed: int, inside: np.ndarray, gap: float = 1.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.normal(0, 1, IMAGES) + gap * inside + 0.4 * random.normal(size=inside.shape)


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_a_shadow_is_judged_by_the_pairs_it_is_not_of(name: str) -> None:
    inside = layout(0, 6, disjoint=False)[1:]
    x = planted(0, inside)
    scores = leave_one_out(PER_SAMPLE[name], x, inside)
    for k in range(6):
        others = [j for j in range(6) if j // 2 != k // 2]
        np.testing.assert_array_equal(scores[k], PER_SAMPLE[name]().fit(x[others], inside[others]).score(x[k]))


@pytest.mark.parametrize("name", DISJOINT)
def test_candidates_that_no_shadow_held_are_not_judged(name: str) -> None:
    inside = layout(1, 6, disjoint=True)[1:]
    x = planted(1, inside)
    scores = leave_one_out(PER_SAMPLE[name], x, inside)
    half = IMAGES // 2
    assert np.isnan(scores[:, :half]).all()
    for k in range(6):
        others = [j for j in range(6) if j // 2 != k // 2]
        expected = PER_SAMPLE[name]().fit(x[others], inside[others]).score(x[k])
        np.testing.assert_array_equal(scores[k, half:], expected[half:])


@pytest.mark.parametrize("disjoint", [False, True])
@pytest.mark.parametrize("name", DISJOINT)
def test_without_a_gap_shadows_score_no_better_than_chance(name: str, disjoint: bool) -> None:
    aucs = []
    for seed in range(8):
        inside = layout(seed, 6, disjoint)[1:]
        scores = leave_one_out(PER_SAMPLE[name], planted(100 + seed, inside, gap=0.0), inside)
        judged = ~np.isnan(scores)
        aucs.append(roc_auc_score(inside[judged], scores[judged]))
    # 6 shadows, independent in 3 pairs, 8 draws of the images
    half = (IMAGES // 4 if disjoint else IMAGES // 2) * 3 * 8
    assert abs(np.mean(aucs) - 0.5) < 3 * np.sqrt((2 * half + 1) / (12 * half * half))


def test_shadows_of_one_pair_leave_nobody_to_judge_them() -> None:
    inside = layout(2, 2, disjoint=True)[1:]
    x = planted(2, inside)
    assert np.isfinite(Offline().fit(x, inside).score(x[0])).all()
    with pytest.raises(InputError):
        leave_one_out(Offline, x, inside)


def calibrated(name: str, x: np.ndarray, inside: np.ndarray) -> tuple[Calibrated, np.ndarray]:
    """Fitted on the rows from 1, and the scores of row 0."""
    index = np.arange(IMAGES)
    shadows = [Labelled(index, {}, row) for row in inside[1:]]
    model = Calibrated(likelihood=name, tie_variance=True).fit(shadows, [row[:, None] for row in x[1:]])
    return model, model.score(Seen(index, {}), x[0][:, None])


@pytest.mark.parametrize("shadows", [2, 8])
@pytest.mark.parametrize("name", DISJOINT)
def test_the_threshold_serves_candidates_that_no_shadow_held(name: str, shadows: int) -> None:
    inside = layout(3, shadows, disjoint=True)
    model, scores = calibrated(name, planted(3, inside, gap=-1.5), inside)
    candidates = IMAGES // 2
    called, member = scores[:candidates] >= model.threshold_, inside[0, :candidates]
    accuracy = (called[member].mean() + (~called[~member]).mean()) / 2
    assert accuracy > 0.75
    assert (model.shadow_scores_ is None) == (shadows == 2)
    assert ("left out in turn" if shadows == 8 else "favours neither side") in model.threshold_from_


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_every_likelihood_has_a_gap_a_threshold_and_its_shadows_scores(name: str) -> None:
    inside = layout(4, 8, disjoint=False)
    model, scores = calibrated(name, planted(4, inside, gap=1.5), inside)
    called, member = scores >= model.threshold_, inside[0]
    assert (called[member].mean() + (~called[~member]).mean()) / 2 > 0.8
    assert model.likelihood_ == name and model.member_gap_ > 0.5
    assert model.shadow_scores_ is not None and model.shadow_scores_.score.shape == (8 * IMAGES,)
    assert roc_auc_score(model.shadow_scores_.member, model.shadow_scores_.score) > 0.85


def test_auto_is_crossed_where_no_shadow_held_the_candidates() -> None:
    inside = layout(5, 8, disjoint=True)
    x, candidates = planted(5, inside), slice(0, IMAGES // 2)
    model, score = calibrated("auto", x, inside)
    assert model.likelihood_ == "crossed"
    _, pooled = calibrated("class_conditional", x, inside)
    member = inside[0, candidates]
    assert roc_auc_score(member, score[candidates]) > roc_auc_score(member, pooled[candidates]) + 0.1

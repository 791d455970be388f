"""Views and images without a usable embedding: they say nothing, and they change nothing where there are none."""

from typing import get_args

import numpy as np
import pytest

from lpla.attacks.likelihood.calibrated import Calibrated, Likelihood
from lpla.attacks.likelihood.cells import Cells
from lpla.attacks.likelihood.class_conditional import ClassConditional
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.attacks.likelihood.standardise import standardise
from lpla.contracts.evidence import Labelled, Seen

IMAGES, VIEWS = 400, 6
PER_IMAGE = ("hier", "lira", "lira_shared", "nig", "offline", "rmia")


def audit(seed: int, shadows: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Log-norms [K, N, Q] of target and shadows without a leak, every image at its own level, and who was inside."""
    random = np.random.default_rng(seed)
    rows = [random.permutation(IMAGES) < IMAGES // 2 for _ in range(1 + shadows // 2)]
    inside = np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])
    level = random.normal(0, 3, (1, IMAGES, 1)) + random.normal(0, 0.3, (len(inside), IMAGES, 1))
    return level + random.normal(0, 0.5, (len(inside), IMAGES, VIEWS)), inside


def scored(x: np.ndarray, inside: np.ndarray, likelihood: Likelihood) -> np.ndarray:
    """The target's scores."""
    index = np.arange(IMAGES)
    shadows = [Labelled(index, {}, row) for row in inside[1:]]
    return Calibrated(likelihood=likelihood, tie_variance=True).fit(shadows, list(x[1:])).score(Seen(index, {}), x[0])


@pytest.mark.parametrize("likelihood", get_args(Likelihood))
def test_an_image_without_a_usable_view_favours_neither_side(likelihood: str) -> None:
    """As views of 0, the middle of all images, they were far from their own level: 23 % were among the top 5 %."""
    top = []
    for seed in range(4):
        x, inside = audit(seed)
        gone = np.random.default_rng(seed).permutation(IMAGES)[:40]
        x[0, gone] = np.where(np.arange(40)[:, None] % 2, np.nan, -np.inf)
        score = scored(x, inside, likelihood)
        assert np.isfinite(score).all() and len(set(score[gone])) == 1
        top.append(np.mean(score[gone] > np.quantile(np.delete(score, gone), 0.95)))
    assert np.mean(top) == 0


@pytest.mark.parametrize("likelihood", ["hier", "lira_shared", "offline", "class_conditional"])
def test_an_image_with_fewer_usable_views_is_judged_by_these(likelihood: str) -> None:
    top = []
    for seed in range(8):
        x, inside = audit(seed)
        partly = np.random.default_rng(seed).permutation(IMAGES)[:40]
        x[0, partly, 3:] = np.nan
        score = scored(x, inside, likelihood)
        top.append(np.mean(score[partly] > np.quantile(score, 0.95)))
    # 5 % expected; three standard errors of 320 images above it.
    assert np.mean(top) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 320)


@pytest.mark.parametrize("likelihood", PER_IMAGE)
def test_a_shadow_that_saw_nothing_of_an_image_is_left_out_of_it(likelihood: str) -> None:
    """The image's score is that of an audit without this shadow; the others hardly move."""
    x, inside = audit(1)
    held = np.flatnonzero(inside[1])[0]
    x[1, held] = np.nan
    u = np.stack([standardise(one) for one in x])
    mean = np.where(np.isfinite(u).any(axis=2), np.nan_to_num(u).sum(axis=2) / VIEWS, np.nan)
    cells = Cells.of(mean[1:], inside[1:])
    others = inside[2:, held]
    assert cells.n[1, held] == others.sum() and cells.n[0, held] == (~others).sum()
    assert cells.mean[1, held] == pytest.approx(mean[2:, held][others].mean())
    score = PER_SAMPLE[likelihood]().fit(mean[1:], inside[1:]).score(mean[0])
    assert np.isfinite(score).all() and np.array_equal(scored(x, inside, likelihood), score)


@pytest.mark.parametrize("likelihood", PER_IMAGE)
def test_an_image_of_which_one_side_saw_nothing_stops_no_audit(likelihood: str) -> None:
    x, inside = audit(2)
    x[1:][inside[1:, 0], 0] = np.nan
    x[1:, 1] = np.nan
    score = scored(x, inside, likelihood)
    assert np.isfinite(score).all()
    if likelihood in ("lira", "lira_shared", "nig"):
        assert score[0] == score[1] == 0


def test_the_pooled_likelihood_counts_the_views_of_every_image() -> None:
    """An image of which all but some views are unusable has the score that those views alone would have."""
    x, inside = audit(3)
    model = ClassConditional(tie_variance=True).fit([x[1]], [inside[1]])
    few = x[0].copy()
    few[:, 2:] = np.nan
    mean, within = x[0, :, :2].mean(axis=1), x[0, :, :2].var(axis=1)
    sides = []
    for y in (0, 1):
        marginal = model.sig2_[y] + 2 * model.tau2_[y]
        around = np.log(model.sig2_[y]) + 2 * within / model.sig2_[y]
        sides.append(-0.5 * (around + np.log(marginal) + 2 * (mean - model.mu_[y]) ** 2 / marginal))
    np.testing.assert_allclose(model.score(few), sides[1] - sides[0], rtol=1e-9, atol=1e-12)


def test_unusable_views_leave_the_variances_of_the_pooled_likelihood_unbiased() -> None:
    random = np.random.default_rng(0)
    u = random.normal(0, 2, (4000, 1)) + random.normal(0, 1.5, (4000, 5))
    u[:2000, 2:] = np.nan
    u[7] = np.nan
    model = ClassConditional(tie_variance=True).fit([u], [np.arange(4000) % 2 == 0])
    assert model.sig2_ == pytest.approx(1.5**2, rel=0.05) and model.tau2_ == pytest.approx(2**2, rel=0.08)
    assert np.isnan(model.score(u)[7])

"""The densities of an image's mean against scipy's slow ones, and where they are better than a normal law."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gaussian_kde, multivariate_normal, norm, t
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.class_conditional import ClassConditional
from lpla.attacks.likelihood.density import DENSITIES, LARGEST_SAMPLE, Kde, StudentT

GAP = 1.0


def heavy(seed: int, images: int, dof: float = 3.0, gap: float = GAP) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.standard_t(dof, images) + gap * y for y in (0, 1)]


@pytest.mark.parametrize("dof", [1.5, 4.0])
def test_untied_student_t_is_scipys_maximum_likelihood(dof: float) -> None:
    sides = heavy(0, 300, dof)
    model = StudentT().fit(sides, tie=False)
    for y, side in enumerate(sides):
        expected = t.fit(side)
        found = model.dof_[y], model.location_[y], model.scale_[y]
        assert found == pytest.approx(expected, rel=2e-3, abs=2e-3)
        assert t.logpdf(side, *found).sum() == pytest.approx(t.logpdf(side, *expected).sum(), abs=1e-5)


def test_no_tied_student_t_near_by_is_likelier() -> None:
    sides = heavy(1, 300)
    model = StudentT().fit(sides, tie=True)
    assert model.dof_[0] == model.dof_[1] and model.scale_[0] == model.scale_[1]
    best = np.array([*model.location_, model.scale_[0], model.dof_[0]])

    def likelihood(m0: float, m1: float, scale: float, dof: float) -> float:
        return float(t.logpdf(sides[0], dof, m0, scale).sum() + t.logpdf(sides[1], dof, m1, scale).sum())

    for change in np.concatenate([0.01 * np.eye(4), -0.01 * np.eye(4)]):
        assert likelihood(*(best + change)) < likelihood(*best)


def test_a_large_sample_is_thinned_without_harm() -> None:
    sides = heavy(2, 10 * LARGEST_SAMPLE)
    model = StudentT().fit(sides, tie=True)
    # standard errors of the whole sample: location and scale .006, degrees of freedom .05
    assert model.location_ == pytest.approx([0.0, GAP], abs=0.03)
    assert model.scale_[0] == pytest.approx(1.0, abs=0.03) and model.dof_[0] == pytest.approx(3.0, abs=0.2)


def test_normal_values_have_the_most_degrees_of_freedom_and_the_normal_ratio() -> None:
    random = np.random.default_rng(3)
    sides = [random.normal(y, 2.0, 3000) for y in (0, 1)]
    at = np.linspace(-4, 4, 50)
    expected = norm.logpdf(at, 1, 2) - norm.logpdf(at, 0, 2)
    np.testing.assert_allclose(StudentT().fit(sides, tie=True).log_ratio(at), expected, atol=0.15)


@pytest.mark.parametrize("tie", [True, False])
def test_kde_is_the_sum_of_kernels(tie: bool) -> None:
    random = np.random.default_rng(4)
    sides = [random.standard_t(3, 250), 1 + 0.5 * random.normal(size=150)]
    model = Kde().fit(sides, tie)
    deviation = [side.std(ddof=1) for side in sides]
    if tie:
        pooled = math.sqrt((249 * deviation[0] ** 2 + 149 * deviation[1] ** 2) / 398)
        bandwidth = [pooled * 200**-0.2] * 2
    else:
        bandwidth = [side.std(ddof=1) * gaussian_kde(side, "scott").factor for side in sides]
    np.testing.assert_allclose(model.bandwidth_, bandwidth)
    at = np.linspace(-12, 12, 200)
    floor = max(norm.pdf(0) / (len(side) * h) for side, h in zip(sides, bandwidth, strict=True))
    out, inside = (
        np.array([norm.pdf(value, side, h).mean() for value in at]) for side, h in zip(sides, bandwidth, strict=True)
    )
    np.testing.assert_allclose(model.log_ratio(at), np.log((inside + floor) / (out + floor)), atol=2e-3)
    if not tie:
        np.testing.assert_allclose(out, gaussian_kde(sides[0], "scott")(at), rtol=1e-9)


def test_an_outlier_neither_decides_nor_costs_the_rest_its_resolution() -> None:
    sides = heavy(5, 2000)
    plain = Kde().fit(sides, tie=False)
    sides[1][0] = 50.0
    spoilt = Kde().fit(sides, tie=False)
    assert 0 < spoilt.log_ratio(np.array([50.0]))[0] < math.log(2) + 1e-9
    assert not spoilt.log_ratio(np.array([-1e9, 1e9])).any()
    at = np.linspace(-2, 3, 20)
    assert np.corrcoef(plain.log_ratio(at), spoilt.log_ratio(at))[0, 1] > 0.98


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("queries", [1, 3])
def test_the_views_around_the_mean_keep_their_normal_law(queries: int, tie: bool, density: str) -> None:
    random = np.random.default_rng(6)
    member = np.arange(400) % 2 == 0
    u = (random.normal(0, 1, 400) + member)[:, None] + (0.5 + 0.2 * member[:, None]) * random.normal(
        size=(400, queries)
    )
    model = ClassConditional(tie, density).fit([u], [member])
    gaussian = ClassConditional(tie).fit([u], [member])
    around = []
    for y in (0, 1):
        # all views but one, as deviations from the mean: what a normal law of independent views leaves
        normal = (
            multivariate_normal(np.zeros(queries - 1), gaussian.sig2_[y] * (np.eye(queries - 1) - 1 / queries))
            if queries > 1
            else None
        )
        deviations = (u - u.mean(axis=1, keepdims=True))[:, 1:]
        around.append(normal.logpdf(deviations) if normal else 0.0)
    expected = model.density_.log_ratio(u.mean(axis=1)) + around[1] - around[0]
    np.testing.assert_allclose(model.score(u), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("density", DENSITIES)
def test_recovers_the_auc_that_the_planted_densities_allow(density: str) -> None:
    random = np.random.default_rng(7)
    member = np.arange(20_000) % 2 == 0
    # Members at both ends, where no linear score finds them.
    u = np.where(member, random.choice([-2.0, 2.0], 20_000), 0.0) + random.standard_t(4, 20_000)
    truth = np.log((t.pdf(u, 4, 2) + t.pdf(u, 4, -2)) / 2) - t.logpdf(u, 4)
    half = slice(0, 10_000), slice(10_000, None)
    aucs = {}
    for name in ("gaussian", density):
        model = ClassConditional(density == "kde", name).fit([u[half[0], None]], [member[half[0]]])
        aucs[name] = roc_auc_score(member[half[1]], model.score(u[half[1], None]))
    best, error = roc_auc_score(member[half[1]], truth[half[1]]), np.sqrt(10_001 / (12 * 5000**2))
    assert aucs[density] > best - 3 * error
    assert density == "student_t" or aucs["gaussian"] < best - 20 * error


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("tie", [True, False])
def test_no_signal_gives_no_auc(tie: bool, density: str) -> None:
    sides, target = heavy(8, 2000, gap=0.0), heavy(9, 2000, gap=0.0)
    u, member = np.concatenate(sides)[:, None], np.arange(4000) >= 2000
    scores = ClassConditional(tie, density).fit([u], [member]).score(np.concatenate(target)[:, None])
    assert abs(roc_auc_score(member, scores) - 0.5) < 3 * np.sqrt(4001 / (12 * 2000 * 2000))


@settings(max_examples=5, deadline=None)
@given(shift=st.floats(-50, 50), scale=st.floats(0.01, 100), tie=st.booleans(), flip=st.booleans())
@pytest.mark.parametrize("density", DENSITIES)
def test_shift_and_scale_change_no_score(density: str, shift: float, scale: float, tie: bool, flip: bool) -> None:
    sides = heavy(10, 60)
    at = np.linspace(-3, 4, 40)
    change = -scale if flip else scale
    plain = DENSITIES[density]().fit(sides, tie).log_ratio(at)
    moved = DENSITIES[density]().fit([change * side + shift for side in sides], tie).log_ratio(change * at + shift)
    np.testing.assert_allclose(moved, plain, atol=5e-3)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("tie", [True, False])
def test_ties_everywhere_are_no_evidence(tie: bool, density: str) -> None:
    u, member = np.zeros((60, 3)), np.arange(60) % 2 == 0
    assert not ClassConditional(tie, density).fit([u], [member]).score(u).any()

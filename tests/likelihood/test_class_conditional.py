"""ClassConditional against full covariance matrices, and a planted signal against the likelihood's own formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.class_conditional import ClassConditional
from lpla.contracts.inputs import InputError

TAU, SIG, GAP = 0.8, 1.5, 0.5


def planted(seed: int, images: int, queries: int, gap: float = GAP) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    member = np.arange(images) % 2 == 0
    level = random.normal(0, TAU, images) + gap * member
    return level[:, None] + random.normal(0, SIG, (images, queries)), member


@pytest.mark.parametrize("queries", [1, 2, 7])
@pytest.mark.parametrize("tie", [True, False])
def test_score_is_the_ratio_of_multivariate_normals(queries: int, tie: bool) -> None:
    u, member = planted(0, 300, queries)
    model = ClassConditional(tie).fit([u], [member])
    fresh, _ = planted(1, 50, queries)
    log_density = [
        multivariate_normal(
            np.full(queries, model.mu_[y]),
            model.sig2_[y] * np.eye(queries) + model.tau2_[y] * np.ones((queries, queries)),
        ).logpdf(fresh.reshape(50, queries))
        for y in (0, 1)
    ]
    np.testing.assert_allclose(model.score(fresh), log_density[1] - log_density[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("tie", [True, False])
def test_fit_is_the_moments_written_out(tie: bool) -> None:
    u, member = planted(2, 101, 4)
    model = ClassConditional(tie).fit([u], [member])
    within, between, counts = [], [], []
    for y in (False, True):
        rows = [list(row) for row, inside in zip(u, member, strict=True) if inside == y]
        means = [sum(row) / 4 for row in rows]
        centre = sum(means) / len(rows)
        assert model.mu_[int(y)] == pytest.approx(centre)
        within.append(sum((x - m) ** 2 for row, m in zip(rows, means, strict=True) for x in row))
        between.append(sum((m - centre) ** 2 for m in means))
        counts.append(len(rows))
    if tie:
        within, between = [sum(within)] * 2, [sum(between)] * 2
        within_dof, between_dof = [sum(counts) * 3] * 2, [sum(counts) - 2] * 2
    else:
        within_dof, between_dof = [3 * n for n in counts], [n - 1 for n in counts]
    for y in (0, 1):
        sig2 = within[y] / within_dof[y]
        assert model.sig2_[y] == pytest.approx(sig2)
        assert model.tau2_[y] == pytest.approx(between[y] / between_dof[y] - sig2 / 4)


@pytest.mark.parametrize("queries", [1, 2, 10, 40])
def test_recovers_the_planted_auc(queries: int) -> None:
    shadows = [planted(seed, 4000, queries) for seed in (10, 11)]
    model = ClassConditional(True).fit([u for u, _ in shadows], [member for _, member in shadows])
    target, member = planted(99, 10_000, queries)
    expected = norm.cdf(GAP / np.sqrt(2 * (TAU**2 + SIG**2 / queries)))
    standard_error = np.sqrt(10_001 / (12 * 5000 * 5000))
    assert abs(roc_auc_score(member, model.score(target)) - expected) < 3 * standard_error


def test_no_signal_gives_no_auc() -> None:
    model = ClassConditional(True).fit(*zip(planted(20, 4000, 5, gap=0.0), strict=True))
    target, member = planted(21, 4000, 5, gap=0.0)
    assert abs(roc_auc_score(member, model.score(target)) - 0.5) < 3 * np.sqrt(4001 / (12 * 2000 * 2000))


@settings(max_examples=30, deadline=None)
@given(
    shift=st.floats(-50, 50),
    scale=st.floats(0.01, 100),
    queries=st.integers(1, 4),
    tie=st.booleans(),
    flip=st.booleans(),
)
def test_shift_and_scale_change_no_score(shift: float, scale: float, queries: int, tie: bool, flip: bool) -> None:
    u, member = planted(3, 60, queries)
    plain = ClassConditional(tie).fit([u], [member]).score(u)
    moved = (-scale if flip else scale) * u + shift
    np.testing.assert_allclose(ClassConditional(tie).fit([moved], [member]).score(moved), plain, rtol=1e-6, atol=1e-7)


def test_identical_views_and_ties_do_not_divide_by_zero() -> None:
    u, member = planted(4, 60, 1)
    repeated = np.repeat(u, 3, axis=1)
    assert np.isfinite(ClassConditional(True).fit([repeated], [member]).score(repeated)).all()
    assert not ClassConditional(False).fit([0 * repeated], [member]).score(0 * repeated).any()


def test_needs_both_sides_and_the_same_views() -> None:
    u, member = planted(5, 20, 3)
    with pytest.raises(InputError, match="at least 2 members and 2 non-members in the shadows, got 20 and 0"):
        ClassConditional(True).fit([u], [np.ones_like(member)])
    with pytest.raises(ValueError, match="through 3 views, the target through 2"):
        ClassConditional(True).fit([u], [member]).score(u[:, :2])

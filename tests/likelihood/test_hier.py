"""Hier against a loop over images with explicit matrices, and for what it buys on planted signals."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.hier import Hier
from lpla.attacks.likelihood.leave_one_out import leave_one_out
from lpla.attacks.likelihood.variance_prior import fit_variance_prior
from lpla.contracts.inputs import InputError


def half(random: np.random.Generator, images: int) -> np.ndarray:
    row = np.zeros(images, dtype=bool)
    row[random.permutation(images)[: images // 2]] = True
    return row


def balanced(random: np.random.Generator, shadows: int, images: int) -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs."""
    pairs = [half(random, images) for _ in range(shadows // 2)]
    return np.stack([half(random, images), *(row for pair in pairs for row in (pair, ~pair))])


def planted(
    seed: int,
    shadows: int,
    images: int,
    gap: float = 0.3,
    gap_sd: float = 0.1,
    noise: float = 0.3,
    noise_dof: float = 8,
) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    inside = balanced(random, shadows, images)
    level = random.normal(0, 1, images)
    effect = random.normal(gap, gap_sd, images)
    spread = noise * np.sqrt(noise_dof / random.chisquare(noise_dof, images)) if math.isfinite(noise_dof) else noise
    return level + inside * effect + spread * random.normal(size=inside.shape), inside


def slow_fit(x: np.ndarray, inside: np.ndarray) -> dict:
    """The likelihood's formula, line by line."""
    ins = [[x[k, i] for k in range(len(x)) if inside[k, i]] for i in range(x.shape[1])]
    outs = [[x[k, i] for k in range(len(x)) if not inside[k, i]] for i in range(x.shape[1])]
    squares, dofs = [], []
    for cells in zip(ins, outs, strict=True):
        squares.append(sum((value - sum(cell) / len(cell)) ** 2 for cell in cells for value in cell))
        dofs.append(sum(len(cell) - 1 for cell in cells if cell))
    s2 = sum(squares) / sum(dofs)
    both = [i for i in range(x.shape[1]) if ins[i] and outs[i]]
    gaps = [np.mean(ins[i]) - np.mean(outs[i]) for i in both]
    h = [1 / (1 / len(ins[i]) + 1 / len(outs[i])) for i in both]
    out_means = [np.mean(cell) for cell in outs if cell]
    w2 = max(np.var(gaps, ddof=1) - np.mean([s2 / one for one in h]), 0)
    t2 = max(np.var(out_means, ddof=1) - np.mean([s2 / len(cell) for cell in outs if cell]), 0)
    paired_outs = [np.mean(outs[i]) for i in both]
    c = np.cov(paired_outs, gaps)[0, 1] + np.mean([s2 / len(outs[i]) for i in both])
    c = np.sign(c) * min(abs(c), 0.95 * np.sqrt(t2 * w2))
    kept = [i for i in range(x.shape[1]) if dofs[i]]
    d0, s02 = fit_variance_prior(np.array([squares[i] for i in kept]), np.array([dofs[i] for i in kept]))
    prior_mean = np.array([np.mean(out_means), sum(a * b for a, b in zip(h, gaps, strict=True)) / sum(h)])
    return {
        "ins": ins, "outs": outs, "squares": squares, "dofs": dofs, "d0": d0, "s02": s02,
        "mean": prior_mean, "cov": np.array([[t2, c], [c, w2]]),
    }  # fmt: skip


def slow_score(fit: dict, x0: np.ndarray) -> list[float]:
    scores = []
    for i, value in enumerate(x0):
        d0, s02 = fit["d0"], fit["s02"]
        nu = d0 + fit["dofs"][i]
        s2 = s02 if math.isinf(d0) else (d0 * s02 + fit["squares"][i]) / nu
        precision = np.linalg.inv(fit["cov"])
        weighted = precision @ fit["mean"]
        for cell, design in ((fit["outs"][i], np.array([1.0, 0.0])), (fit["ins"][i], np.array([1.0, 1.0]))):
            for one in cell:
                precision = precision + np.outer(design, design) / s2
                weighted = weighted + design * one / s2
        posterior = np.linalg.inv(precision)
        mean = posterior @ weighted
        density = []
        for design in (np.array([1.0, 1.0]), np.array([1.0, 0.0])):
            scale = np.sqrt(design @ posterior @ design + s2)
            at = (value, design @ mean, scale)
            density.append(norm.logpdf(*at) if math.isinf(nu) else t.logpdf(at[0], nu, *at[1:]))
        scores.append(density[0] - density[1])
    return scores


@pytest.mark.parametrize("noise_dof", [4.0, math.inf])
def test_agrees_with_the_loop_in_a_balanced_layout(noise_dof: float) -> None:
    x, inside = planted(3, 8, 120, gap=1.0, gap_sd=0.5, noise_dof=noise_dof)
    model = Hier().fit(x[1:], inside[1:])
    np.testing.assert_allclose(model.score(x[0]), slow_score(slow_fit(x[1:], inside[1:]), x[0]), rtol=1e-9, atol=1e-9)


def test_both_ends_of_the_variance_prior_are_met() -> None:
    heavy = Hier().fit(*(part[1:] for part in planted(3, 8, 120, gap=1.0, gap_sd=0.5, noise_dof=4)))
    equal = Hier().fit(*(part[1:] for part in planted(3, 8, 120, gap=1.0, gap_sd=0.5, noise_dof=math.inf)))
    assert math.isfinite(heavy.d0_) and math.isinf(equal.d0_)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_loop_for_any_counts(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, _ = planted(seed, 6, 80, gap=1.0, gap_sd=0.5, noise_dof=4)
    inside = random.random(x.shape) < random.random(80)
    inside[:, :8] = False
    inside[:, 8:16] = True
    x = x + 1.0 * inside * random.normal(1, 0.5, 80)
    model = Hier().fit(x[1:], inside[1:])
    assert {0, len(x) - 1} <= set(model.n_in_.tolist())
    np.testing.assert_allclose(model.score(x[0]), slow_score(slow_fit(x[1:], inside[1:]), x[0]), rtol=1e-9, atol=1e-9)


def test_an_image_no_shadow_holds_is_scored_by_its_own_level_and_the_common_gap() -> None:
    random = np.random.default_rng(5)
    x, inside = planted(5, 16, 2000, gap=1.0)
    inside[1:, :1000] = False
    x = random.normal(0, 1, 2000) + inside * random.normal(1.0, 0.1, 2000) + 0.3 * random.normal(size=x.shape)
    scores = Hier().fit(x[1:], inside[1:]).score(x[0])
    offline = roc_auc_score(inside[0, :1000], scores[:1000])
    expected = norm.cdf(1.0 / np.sqrt(2 * (0.1**2 / 2 + 0.3**2 * (1 + 1 / 16))))
    assert offline == pytest.approx(expected, abs=3 * np.sqrt(1001 / (12 * 500 * 500)))


def test_variances_that_come_out_as_zero_are_prior_points() -> None:
    x, inside = planted(6, 8, 200, gap=0.0, gap_sd=0.0, noise_dof=math.inf)
    model = Hier().fit(x[1:], inside[1:])
    model.w2_ = model.c_ = 0.0
    almost = Hier().fit(x[1:], inside[1:])
    almost.w2_, almost.c_ = 1e-12, 0.0
    np.testing.assert_allclose(model.score(x[0]), almost.score(x[0]), rtol=1e-6, atol=1e-9)


def test_ties_everywhere_are_no_evidence() -> None:
    _, inside = planted(7, 4, 50)
    assert not Hier().fit(np.zeros(inside[1:].shape), inside[1:]).score(np.zeros(50)).any()


def test_beats_a_pooled_threshold_where_images_differ() -> None:
    margins = []
    for seed in range(5):
        x, inside = planted(seed, 8, 1000)
        hier = roc_auc_score(inside[0], Hier().fit(x[1:], inside[1:]).score(x[0]))
        margins.append(hier - roc_auc_score(inside[0], x[0]))
    # one standard error of a null AUC is .018; measured: .15 on average, .12 at least
    assert min(margins) > 0.07 and np.mean(margins) > 0.11


@pytest.mark.parametrize("shadows", [4, 8])
def test_no_effect_gives_no_auc(shadows: int) -> None:
    aucs = []
    for seed in range(8):
        x, inside = planted(100 + seed, shadows, 1000, gap=0.0, gap_sd=0.0)
        aucs.append(roc_auc_score(inside[0], Hier().fit(x[1:], inside[1:]).score(x[0])))
    standard_error = np.sqrt(1001 / (12 * 500 * 500))
    assert np.abs(np.array(aucs) - 0.5).max() < 3 * standard_error
    assert abs(np.mean(aucs) - 0.5) < 3 * standard_error / np.sqrt(8)


def test_many_shadows_make_it_lira() -> None:
    x, inside = planted(11, 256, 400, gap=0.5, gap_sd=0.3)
    shadows, held = x[1:], inside[1:]
    lira = np.empty(400)
    for i in range(400):
        ins, outs = shadows[held[:, i], i], shadows[~held[:, i], i]
        lira[i] = norm.logpdf(x[0, i], ins.mean(), ins.std(ddof=1)) - norm.logpdf(
            x[0, i], outs.mean(), outs.std(ddof=1)
        )
    scores = Hier().fit(shadows, held).score(x[0])
    assert np.corrcoef(scores, lira)[0, 1] > 0.97
    difference = roc_auc_score(inside[0], scores) - roc_auc_score(inside[0], lira)
    assert abs(difference) < np.sqrt(401 / (12 * 200 * 200))


def test_one_score_depends_on_one_image_of_the_target() -> None:
    x, inside = planted(12, 8, 60)
    model = Hier().fit(x[1:], inside[1:])
    changed = x[0].copy()
    changed[1:] += 3
    assert model.score(changed)[0] == model.score(x[0])[0]


def test_too_few_shadows_are_named() -> None:
    x, inside = planted(8, 2, 40)
    with pytest.raises(
        InputError,
        match=r"attack.likelihood=hier needs at least 4 shadows in the balanced layout "
        r"\(some image with two shadows on the same side\), got 2",
    ):
        Hier().fit(x[1:], inside[1:])
    with pytest.raises(InputError, match="at least 2 images that one shadow was trained on and another was not, got 0"):
        Hier().fit(x, np.zeros_like(inside))
    x, inside = planted(8, 4, 40)
    with pytest.raises(ValueError, match="the shadows hold 40 images, the target 39"):
        Hier().fit(x[1:], inside[1:]).score(x[0, :-1])


def test_a_shadow_is_left_out_with_its_complement() -> None:
    x, inside = planted(9, 6, 100)
    x, inside = x[1:], inside[1:]
    scores = leave_one_out(Hier, x, inside)
    for k, pair in ((0, (0, 1)), (3, (2, 3))):
        others = [j for j in range(6) if j not in pair]
        np.testing.assert_array_equal(scores[k], Hier().fit(x[others], inside[others]).score(x[k]))
    with pytest.raises(InputError):
        leave_one_out(Hier, x[:4], inside[:4])

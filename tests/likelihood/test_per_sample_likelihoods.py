"""The per-sample likelihoods against loops over images, on planted signals, on none, and on layouts they cannot use."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.lira import FLOOR, Lira
from lpla.attacks.likelihood.nig import Nig
from lpla.attacks.likelihood.offline import Offline
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.attacks.likelihood.rmia import Rmia
from lpla.attacks.likelihood.variance_prior import fit_variance_prior
from lpla.contracts.inputs import InputError


def balanced(random: np.random.Generator, shadows: int, images: int) -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs."""
    rows = [random.permutation(images) < images // 2 for _ in range(1 + shadows // 2)]
    return np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])


def disjoint(random: np.random.Generator, shadows: int, images: int) -> np.ndarray:
    """The first half of the images candidates, of which no shadow holds any; the other half the shadows'."""
    shadow_part = balanced(random, shadows, images // 2)[1:]
    candidates = np.zeros((1 + shadows, images // 2), dtype=bool)
    candidates[0, : images // 4] = True
    return np.concatenate([candidates, np.concatenate([np.zeros_like(shadow_part[:1]), shadow_part])], axis=1)


def planted(seed: int, inside: np.ndarray, gap: float = 1.0, noise_dof: float = 6.0) -> np.ndarray:
    """Every image its own level and its own noise; members lie higher by `gap`."""
    random = np.random.default_rng(seed)
    images = inside.shape[1]
    spread = 0.5 * np.sqrt(noise_dof / random.chisquare(noise_dof, images)) if math.isfinite(noise_dof) else 0.5
    return random.normal(0, 1, images) + gap * inside + spread * random.normal(size=inside.shape)


def uneven(seed: int, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """9 encoders, 60 images, every image inside as many as it happens to be; `least` on each side."""
    random = np.random.default_rng(seed)
    inside = random.random((9, 60)) < random.random(60)
    inside[1 : 1 + least], inside[1 + least : 1 + 2 * least] = True, False
    if not least:
        inside[:, :5], inside[:, 5:10] = False, True
    return planted(seed, inside, noise_dof=4.0), inside


def cells(x: np.ndarray, inside: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Values of every image, outside and inside, of the shadows."""
    ks = range(1, len(x))
    return tuple([np.array([x[k, i] for k in ks if inside[k, i] == y]) for i in range(x.shape[1])] for y in (0, 1))  # pyright: ignore


def slow_gap(outs: list[np.ndarray], ins: list[np.ndarray]) -> float:
    pairs = [(o, i) for o, i in zip(outs, ins, strict=True) if len(o) and len(i)]
    weights = [1 / (1 / len(o) + 1 / len(i)) for o, i in pairs]
    return sum(w * (i.mean() - o.mean()) for w, (o, i) in zip(weights, pairs, strict=True)) / sum(weights)


def slow_moderated(side: list[np.ndarray]) -> tuple[list[float], list[float]]:
    squares = [float(((cell - cell.mean()) ** 2).sum()) if len(cell) else 0.0 for cell in side]
    dof = [max(len(cell) - 1, 0) for cell in side]
    kept = [i for i, one in enumerate(dof) if one]
    d0, s02 = fit_variance_prior(np.array([squares[i] for i in kept]), np.array([dof[i] for i in kept]))
    s2 = [s02 if math.isinf(d0) else (d0 * s02 + one) / (d0 + n) for one, n in zip(squares, dof, strict=True)]
    return s2, [d0 + n for n in dof]


def test_lira_is_the_ratio_of_two_normals_per_image() -> None:
    x, inside = uneven(0, least=2)
    outs, ins = cells(x, inside)
    expected = [
        norm.logpdf(x[0, i], ins[i].mean(), ins[i].std(ddof=1))
        - norm.logpdf(x[0, i], outs[i].mean(), outs[i].std(ddof=1))
        for i in range(60)
    ]
    model = Lira(shared=False).fit(x[1:], inside[1:])
    np.testing.assert_allclose(model.score(x[0]), expected, rtol=1e-9)
    assert pytest.approx(slow_gap(outs, ins)) == model.D_


def test_lira_shared_has_the_one_variance_within_cells() -> None:
    x, inside = uneven(1, least=1)
    outs, ins = cells(x, inside)
    squares = sum(((cell - cell.mean()) ** 2).sum() for cell in outs + ins)
    deviation = math.sqrt(squares / sum(len(cell) - 1 for cell in outs + ins))
    expected = [
        norm.logpdf(x[0, i], ins[i].mean(), deviation) - norm.logpdf(x[0, i], outs[i].mean(), deviation)
        for i in range(60)
    ]
    assert min(map(len, ins)) == 1
    np.testing.assert_allclose(Lira(shared=True).fit(x[1:], inside[1:]).score(x[0]), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("noise_dof", [4.0, math.inf])
def test_nig_is_the_ratio_of_two_students_per_image(noise_dof: float) -> None:
    inside = balanced(np.random.default_rng(2), 8, 80)
    x = planted(2, inside, noise_dof=noise_dof)
    if math.isinf(noise_dof):
        # Every cell the same two values apart: variances that differ by nothing have an infinitely sure prior.
        x[1:] = planted(2, inside)[0] + np.where(np.cumsum(inside[1:], axis=0) % 2, 1.0, -1.0) * inside[1:]
    outs, ins = cells(x, inside)
    densities = []
    for side in (outs, ins):
        s2, nu = slow_moderated(side)
        at = [(x[0, i], side[i].mean(), math.sqrt(s2[i] * (1 + 1 / len(side[i])))) for i in range(80)]
        densities.append(
            [t.logpdf(a[0], n, *a[1:]) if n < 1e9 else norm.logpdf(*a) for a, n in zip(at, nu, strict=True)]
        )
    model = Nig().fit(x[1:], inside[1:])
    assert np.isinf(model.nu_).any() == math.isinf(noise_dof)
    np.testing.assert_allclose(model.score(x[0]), np.subtract(densities[1], densities[0]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_offline_is_the_standardised_residual_on_the_members_side(sign: int) -> None:
    x, inside = uneven(3)
    x = sign * x
    outs, ins = cells(x, inside)
    s2, _ = slow_moderated(outs)
    side = math.copysign(1, slow_gap(outs, ins))
    expected = [
        side * (x[0, i] - outs[i].mean()) / math.sqrt(s2[i] * (1 + 1 / len(outs[i]))) if len(outs[i]) else 0.0
        for i in range(60)
    ]
    scores = Offline().fit(x[1:], inside[1:]).score(x[0])
    assert side == sign and 0.0 in expected
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


def slow_rmia(x: np.ndarray, inside: np.ndarray, a: float, gamma: float) -> tuple[np.ndarray, list[float]]:
    outs, ins = cells(x, inside)
    sign, ratios = math.copysign(1, slow_gap(outs, ins)), []
    for value, out, held in zip(x[0], outs, ins, strict=True):
        if all(map(len, outs)) and all(map(len, ins)):
            evidence = (np.exp(sign * out).mean() + np.exp(sign * held).mean()) / 2
        elif len(out):
            evidence = ((1 + a) * np.exp(sign * out).mean() + (1 - a)) / 2
        else:
            evidence = math.exp(sign * value)
        ratios.append(math.exp(sign * value) / evidence)
    others = [[z for j, z in enumerate(ratios) if j != i] for i in range(len(ratios))]
    return np.array([sum(r / z >= gamma for z in o) for r, o in zip(ratios, others, strict=True)]), ratios


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("least", [0, 1])
@pytest.mark.parametrize(("a", "gamma"), [(0.0, 1.3), (0.3, 0.8), (1.0, 2.0)])
def test_rmia_is_the_share_of_images_beaten_by_gamma(a: float, gamma: float, least: int, sign: int) -> None:
    x, inside = uneven(4, least)
    beaten, ratios = slow_rmia(sign * x, inside, a, gamma)
    scores = Rmia(a=a, gamma=gamma).fit(sign * x[1:], inside[1:]).score(sign * x[0])
    np.testing.assert_array_equal(np.floor(len(ratios) * scores + 1e-9), beaten)
    assert len(set(beaten.tolist())) < len(ratios)
    # images of one share are ordered by their ratio; the five that no shadow was outside of have the same one
    np.testing.assert_array_equal(np.argsort(scores[10:]), np.argsort(ratios[10:]))
    assert len(set(scores[5:10])) == (5 if least else 1)


def test_rmia_orders_by_the_ratio_whatever_gamma_is() -> None:
    x, inside = uneven(5)
    plain, other = (Rmia(a=0.5, gamma=gamma).fit(x[1:], inside[1:]).score(x[0]) for gamma in (1.0, 3.0))
    np.testing.assert_array_equal(np.argsort(plain, kind="stable"), np.argsort(other, kind="stable"))
    assert np.all(other <= plain) and np.any(other < plain - 1 / 60)


def test_rmia_does_not_overflow() -> None:
    x, inside = uneven(6)
    x[:, 20], x[:, 21] = 1e5, -1e5
    scores = Rmia(a=1.0, gamma=1.0).fit(x[1:], inside[1:]).score(x[0])
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() < 1


@pytest.mark.parametrize("name", PER_SAMPLE)
@pytest.mark.parametrize("sign", [1, -1])
def test_finds_members_whichever_way_they_move(name: str, sign: int) -> None:
    inside = balanced(np.random.default_rng(7), 16, 2000)
    x = sign * planted(7, inside)
    model = PER_SAMPLE[name]().fit(x[1:], inside[1:])
    # a gap of two standard deviations of the noise, within images: .92 with known levels; pooled, .74
    assert roc_auc_score(inside[0], model.score(x[0])) > 0.85
    assert np.sign(model.D_) == sign and abs(model.D_) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("shadows", [4, 8])
@pytest.mark.parametrize("name", PER_SAMPLE)
def test_no_effect_gives_no_auc(name: str, shadows: int) -> None:
    aucs = []
    for seed in range(6):
        inside = balanced(np.random.default_rng(seed), shadows, 1000)
        x = planted(100 + seed, inside, gap=0.0)
        aucs.append(roc_auc_score(inside[0], PER_SAMPLE[name]().fit(x[1:], inside[1:]).score(x[0])))
    standard_error = np.sqrt(1001 / (12 * 500 * 500))
    assert np.abs(np.array(aucs) - 0.5).max() < 3 * standard_error
    assert abs(np.mean(aucs) - 0.5) < 3 * standard_error / np.sqrt(6)


@pytest.mark.parametrize("name", ["offline", "hier", "rmia"])
def test_images_that_no_shadow_held_are_told_apart(name: str) -> None:
    inside = disjoint(np.random.default_rng(8), 8, 4000)
    for gap, least, most in ((-1.0, 0.8, 1.0), (0.0, 0.5, 0.5)):
        x = planted(8, inside, gap=gap)
        auc = roc_auc_score(inside[0, :2000], PER_SAMPLE[name]().fit(x[1:], inside[1:]).score(x[0])[:2000])
        error = 3 * np.sqrt(2001 / (12 * 1000 * 1000))
        assert least - error < auc < most + error


def test_offline_recovers_the_planted_auc() -> None:
    inside = disjoint(np.random.default_rng(9), 8, 8000)
    x = planted(9, inside, noise_dof=math.inf)
    auc = roc_auc_score(inside[0, :4000], Offline().fit(x[1:], inside[1:]).score(x[0])[:4000])
    # every deviation is the same 0.5 sqrt(1 + 1/8)
    expected = norm.cdf(1.0 / (0.5 * math.sqrt(2 * (1 + 1 / 8))))
    assert auc == pytest.approx(expected, abs=3 * np.sqrt(4001 / (12 * 2000 * 2000)))


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_ties_everywhere_are_no_evidence(name: str) -> None:
    inside = balanced(np.random.default_rng(10), 4, 50)
    scores = PER_SAMPLE[name]().fit(np.zeros((4, 50)), inside[1:]).score(np.zeros(50))
    assert np.isfinite(scores).all() and len(set(scores)) == 1


def test_shadows_that_agree_by_chance_do_not_divide_by_zero() -> None:
    inside = balanced(np.random.default_rng(11), 4, 50)
    x = planted(11, inside)
    x[1:, 0] = 0.3
    model = Lira(shared=False).fit(x[1:], inside[1:])
    pooled = np.mean([cell.var(ddof=1) for side in cells(x, inside) for cell in side])
    np.testing.assert_allclose(model.variance_[:, 0], FLOOR * pooled)
    assert np.isfinite(model.score(x[0])).all()


@pytest.mark.parametrize("name", ["lira", "lira_shared", "nig", "offline", "hier"])
def test_too_few_shadows_are_named(name: str) -> None:
    inside = balanced(np.random.default_rng(12), 2, 40)
    x = planted(12, inside)
    with pytest.raises(InputError, match=rf"attack.likelihood={name} needs .*balanced.* got 2"):
        PER_SAMPLE[name]().fit(x[1:], inside[1:])


@pytest.mark.parametrize("name", ["lira", "lira_shared", "nig"])
def test_images_that_no_shadow_held_are_refused_by_those_that_need_both_sides(name: str) -> None:
    inside = disjoint(np.random.default_rng(13), 8, 40)
    with pytest.raises(
        InputError, match=rf"attack.likelihood={name} needs every image in .*and an image with 0 on one"
    ):
        PER_SAMPLE[name]().fit(planted(13, inside)[1:], inside[1:])


def test_shadows_without_members_are_refused() -> None:
    x, inside = uneven(14)
    for model in (Offline(), Rmia(a=0.5, gamma=1.0)):
        with pytest.raises(InputError, match="the shadows must have members and non-members, got 0 and 480"):
            model.fit(x[1:], np.zeros_like(inside[1:]))

"""Crossed and combined against a multivariate normal over encoders, on planted signals and nulls, and at the edges."""

from typing import get_args

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood.calibrated import Calibrated, Likelihood
from lpla.attacks.likelihood.crossed import LARGEST_SHARE, Combined, Crossed
from lpla.attacks.likelihood.hier import Hier
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError


def rows(random: np.random.Generator, shadows: int, images: int) -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs, and half of one where the number is odd."""
    drawn = [random.permutation(images) < images // 2 for _ in range(2 + shadows // 2)]
    return np.stack([drawn[0], *(row for half in drawn[1:] for row in (half, ~half))])[: 1 + shadows]


def planted(
    seed: int, shadows: int, images: int, gap: float = 1.0, level: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Images that differ much more from each other than members do from non-members."""
    random = np.random.default_rng(seed)
    inside = rows(random, shadows, images)
    return random.normal(0, level, images) + gap * inside + 0.6 * random.normal(size=inside.shape), inside


def slow_variances(x: np.ndarray, inside: np.ndarray, x0: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The means of both sides, t2 and s2, by loops over pairs of encoders."""
    mu = np.array(
        [np.mean([x[k, i] for k in range(len(x)) for i in range(x.shape[1]) if inside[k, i] == y]) for y in (0, 1)]
    )
    c = np.array([[x[k, i] - mu[int(inside[k, i])] for i in range(x.shape[1])] for k in range(len(x))])
    encoders = [*c, x0 - np.mean(x0)]
    covariances = [
        np.mean([encoders[a][i] * encoders[b][i] for i in range(x.shape[1])])
        for a in range(len(encoders))
        for b in range(a + 1, len(encoders))
    ]
    v = np.mean([c[k, i] ** 2 for k in range(len(x)) for i in range(x.shape[1])])
    t2 = min(max(float(np.mean(covariances)), 0.0), LARGEST_SHARE * v)
    return np.asarray(mu), float(t2), float(v - t2)


@pytest.mark.parametrize("shadows", [1, 2, 3, 4, 8])
def test_it_is_the_ratio_of_two_normals_over_encoders(shadows: int) -> None:
    x, inside = planted(shadows, shadows, 40)
    mu, t2, s2 = slow_variances(x[1:], inside[1:], x[0])
    covariance = s2 * np.eye(shadows + 1) + t2
    expected = []
    for i in range(40):
        means = [mu[int(inside[k, i])] for k in range(1, shadows + 1)]
        both = [multivariate_normal([mu[y], *means], covariance).logpdf(x[:, i]) for y in (0, 1)]
        expected.append(both[1] - both[0])
    model = Crossed().fit(x[1:], inside[1:])
    np.testing.assert_allclose(model.score(x[0]), expected, rtol=1e-9, atol=1e-9)
    assert (model.t2_, model.s2_) == pytest.approx((t2, s2)) and pytest.approx(mu[1] - mu[0]) == model.D_


@pytest.mark.parametrize("shadows", [1, 4])
def test_an_uncertain_value_widens_the_prediction_alone(shadows: int) -> None:
    x, inside = planted(3, shadows, 30)
    mu, t2, s2 = slow_variances(x[1:], inside[1:], x[0])
    extra, moved = np.linspace(0, 2, 30), x[0] + 0.3
    expected = []
    for i in range(30):
        covariance = s2 * np.eye(shadows + 1) + t2
        covariance[0, 0] += extra[i]
        means, values = [mu[int(inside[k, i])] for k in range(1, shadows + 1)], [moved[i], *x[1:, i]]
        both = [multivariate_normal([mu[y], *means], covariance).logpdf(values) for y in (0, 1)]
        expected.append(both[1] - both[0])
    ratio = Crossed().fit(x[1:], inside[1:]).given(x[0])
    np.testing.assert_allclose(ratio(moved, extra), expected, rtol=1e-9, atol=1e-9)


def test_combined_is_the_mean_of_both_log_ratios() -> None:
    x, inside = planted(1, 4, 200)
    found = Combined().fit(x[1:], inside[1:]).score(x[0])
    parts = [model().fit(x[1:], inside[1:]).score(x[0]) for model in (Hier, Crossed)]
    assert np.array_equal(found, (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_shadow_compares_heterogeneous_images_with_themselves(sign: int) -> None:
    x, inside = planted(2, 1, 2000, gap=sign * 1.0)
    score = Crossed().fit(x[1:], inside[1:]).score(x[0])
    alone = roc_auc_score(inside[0], sign * x[0])
    # The difference to the shadow has noise .6 sqrt(2): AUC = Phi(1 / (.6 sqrt(2) sqrt(2))) about .80, alone .63.
    assert roc_auc_score(inside[0], score) > alone + 0.1


@pytest.mark.parametrize("shadows", [1, 2, 3, 4])
def test_no_gap_no_auc(shadows: int) -> None:
    aucs = []
    for seed in range(40):
        x, inside = planted(seed, shadows, 200, gap=0.0)
        aucs.append(roc_auc_score(inside[0], Crossed().fit(x[1:], inside[1:]).score(x[0])))
    assert abs(np.mean(aucs) - 0.5) < 3 * np.std(aucs) / np.sqrt(len(aucs))


def test_the_side_of_the_shadows_alone_does_not_tilt_the_targets_variance() -> None:
    # A target of which nobody is a member and one whose members are half of the images have the same level variance.
    random, images = np.random.default_rng(5), 20_000
    inside = rows(random, 2, images)
    level, noise = random.normal(0, 1, images), random.normal(0, 0.5, (3, images))
    x = level + 1.5 * inside + noise
    model = Crossed().fit(x[1:], inside[1:])
    model.score(x[0])
    t2 = model.t2_
    model.score(level + noise[0])
    assert t2 == pytest.approx(1.0, abs=0.04) and model.t2_ == pytest.approx(t2, abs=0.04)


def seen(x: np.ndarray, inside: np.ndarray, foreign: bool = False) -> tuple[Seen, list[Labelled]]:
    index = np.arange(x.shape[1])
    return Seen(index, {}), [Labelled(index, {}, row, foreign=foreign) for row in inside[1:]]


@pytest.mark.parametrize(
    ("shadows", "disjoint", "chosen"),
    [(1, False, "crossed"), (2, False, "crossed"), (4, False, "combined"), (4, True, "crossed")],
)
def test_combined_becomes_crossed_where_hier_is_not_allowed(shadows: int, disjoint: bool, chosen: str) -> None:
    x, inside = planted(6, shadows, 300)
    if disjoint:
        inside[1:, :100] = False
    target, others = seen(x, inside)
    raw = [one[:, None] for one in x]
    model = Calibrated(likelihood="combined", tie_variance=True).fit(others, raw[1:])
    assert model.likelihood_ == chosen
    plain = Calibrated(likelihood="crossed", tie_variance=True).fit(others, raw[1:]).score(target, raw[0])
    assert np.array_equal(model.score(target, raw[0]), plain) == (chosen == "crossed")


def test_shadows_of_other_images_are_pooled_under_combined_and_refused_by_crossed() -> None:
    x, inside = planted(7, 2, 100)
    _, others = seen(x, inside, foreign=True)
    raw = [one[:, None] for one in x]
    assert Calibrated(likelihood="combined", tie_variance=True).fit(others, raw[1:]).likelihood_ == "class_conditional"
    with pytest.raises(InputError, match=r"attack.likelihood=crossed needs shadows of the same images"):
        Calibrated(likelihood="crossed", tie_variance=True).fit(others, raw[1:])


def test_one_shadow_has_the_neutral_threshold() -> None:
    x, inside = planted(8, 1, 100)
    target, others = seen(x, inside)
    model = Calibrated(likelihood="crossed", tie_variance=True).fit(others, [x[1][:, None]])
    assert model.threshold_ == 0 and model.shadow_scores_ is None and "neither side" in model.warnings()[0]
    assert np.isfinite(model.score(target, x[0][:, None])).all()


@pytest.mark.parametrize("name", [name for name in get_args(Likelihood) if name not in ("auto", "class_conditional")])
def test_the_members_of_the_target_are_not_looked_at(name: str) -> None:
    x, inside = planted(9, 8, 200)
    scores = []
    for row in (inside[0], ~inside[0], np.zeros_like(inside[0])):
        _, others = seen(x, inside)
        raw = [one[:, None] for one in x]
        model = Calibrated(likelihood=name, tie_variance=True).fit(others, raw[1:])
        scores.append(model.score(Labelled(np.arange(200), {}, row), raw[0]))
    assert np.array_equal(scores[0], scores[1]) and np.array_equal(scores[0], scores[2])


@pytest.mark.parametrize("value", [True, False])
def test_shadows_with_one_side_alone_are_refused(value: bool) -> None:
    x, inside = planted(10, 2, 50)
    inside[1:] = value
    counts = "100 and 0" if value else "0 and 100"
    with pytest.raises(InputError, match=f"attack.likelihood=crossed needs shadows with members and .* got {counts}"):
        Crossed().fit(x[1:], inside[1:])


def test_a_target_of_other_images_is_refused() -> None:
    x, inside = planted(11, 2, 50)
    with pytest.raises(ValueError, match="the shadows hold 50 images, the target 49"):
        Crossed().fit(x[1:], inside[1:]).score(x[0, 1:])


@pytest.mark.parametrize("name", ["auto", "combined"])
def test_auto_is_the_mean_of_both_where_the_layout_allows_it(name: Likelihood) -> None:
    model = Calibrated(likelihood=name, tie_variance=True)
    x, inside = planted(12, 8, 60)
    _, others = seen(x, inside)
    assert [model.chosen(others[:shadows]) for shadows in (1, 2, 4, 8)] == [
        "crossed",
        "crossed",
        "combined",
        "combined",
    ]
    foreign = [Labelled(one.index, one.values, one.member, foreign=True) for one in others]
    assert model.chosen(foreign) == "class_conditional"


def test_both_are_among_the_likelihoods() -> None:
    assert PER_SAMPLE["crossed"] is Crossed and PER_SAMPLE["combined"] is Combined

"""LinearRatio against loops with an explicit inverse, and for what it buys over the best single scalar."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from lpla.attacks.likelihood import combine
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.contracts.inputs import InputError

GAP = np.array([0.6, 0.1, 0.0])
NOISE = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])


def layout(random: np.random.Generator, shadows: int, images: int) -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs."""
    rows = [random.permutation(images) < images // 2 for _ in range(1 + shadows // 2)]
    return np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])


def planted(seed: int, shadows: int, images: int, gap: np.ndarray = GAP, level: float = 0.0):
    """Scalars [K, N, 3] whose noise is correlated; `level`: how far images lie apart in the first two, together."""
    random = np.random.default_rng(seed)
    inside = layout(random, shadows, images)
    apart = level * random.normal(size=(images, 1)) * np.array([1, -1, 0])
    noise = random.multivariate_normal(np.zeros(3), NOISE, inside.shape)
    return apart + inside[..., None] * gap + noise, inside


def slow_direction(x: np.ndarray, inside: np.ndarray, per_sample: bool) -> np.ndarray:
    shadows, images, _ = x.shape
    residuals, gaps, weights = [], [], []
    for cells in [[i] for i in range(images)] if per_sample else [list(range(images))]:
        means, counts = [], []
        for side in (True, False):
            values = [x[k, i] for k in range(shadows) for i in cells if inside[k, i] == side]
            mean = sum(values) / len(values)
            lost = np.sqrt(len(values) / (len(values) - 1)) if per_sample and len(values) > 1 else 1.0
            if len(values) > 1:
                residuals += [lost * (value - mean) for value in values]
            means.append(mean)
            counts.append(len(values))
        gaps.append(means[0] - means[1])
        weights.append(1 / (1 / counts[0] + 1 / counts[1]))
    gap = sum(w * g for w, g in zip(weights, gaps, strict=True)) / sum(weights)
    unit = np.sqrt(np.mean(np.square(residuals), axis=0))
    covariance = LedoitWolf(assume_centered=True).fit(np.array(residuals) / unit).covariance_
    return np.linalg.inv(np.diag(unit) @ covariance @ np.diag(unit)) @ gap


@pytest.mark.parametrize("per_sample", [True, False])
def test_direction_is_the_one_written_out(per_sample: bool) -> None:
    random = np.random.default_rng(0)
    x, _ = planted(0, 6, 40, level=1.0)
    inside = random.random(x.shape[:2]) < random.uniform(0.2, 0.8, 40)
    inside[:2] = np.array([True, False])[:, None]
    assert len(set(inside.sum(axis=0).tolist())) > 2
    x = x * np.array([1.0, 5.0, 0.1])
    model = LinearRatio(per_sample).fit(x, inside)
    expected = slow_direction(x, inside, per_sample)
    np.testing.assert_allclose(model.direction_, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.project(x[0]), [value @ expected for value in x[0]], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("unknown", [False, True])
def test_images_are_looked_at_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch, per_sample: bool, unknown: bool
) -> None:
    x, inside = planted(7, 6, 100, level=1.0)
    if unknown:  # of one image in three, by one shadow or by all
        x[0, ::3, 1], x[:, ::9] = np.nan, np.nan
    whole = LinearRatio(per_sample).fit(x, inside).direction_
    monkeypatch.setattr(combine, "BLOCK", 7)
    np.testing.assert_allclose(LinearRatio(per_sample).fit(x, inside).direction_, whole, rtol=1e-12)


@pytest.mark.parametrize("per_sample", [True, False])
def test_recovers_the_auc_of_the_best_linear_combination(per_sample: bool) -> None:
    x, inside = planted(1, 8, 4000)
    score = LinearRatio(per_sample).fit(x[1:], inside[1:]).project(x[0])
    best, alone = (norm.cdf(np.sqrt(d2 / 2)) for d2 in (GAP @ np.linalg.inv(NOISE) @ GAP, GAP[0] ** 2))
    error = np.sqrt(4001 / (12 * 2000**2))
    assert best - alone > 6 * error
    assert abs(roc_auc_score(inside[0], score) - best) < 3 * error


def test_per_sample_looks_at_the_noise_that_is_left_within_an_image() -> None:
    x, inside = planted(2, 8, 1000, level=3.0)
    per_sample, pooled = (LinearRatio(kind).fit(x[1:], inside[1:]).direction_ for kind in (True, False))
    best = np.linalg.inv(NOISE) @ GAP
    angles = [one @ best / np.linalg.norm(one) / np.linalg.norm(best) for one in (per_sample, pooled)]
    assert angles[0] > 0.99 and angles[1] < 0.9


@pytest.mark.parametrize("per_sample", [True, False])
def test_no_gap_gives_no_auc(per_sample: bool) -> None:
    x, inside = planted(3, 8, 2000, gap=np.zeros(3))
    score = LinearRatio(per_sample).fit(x[1:], inside[1:]).project(x[0])
    assert abs(roc_auc_score(inside[0], score) - 0.5) < 3 * np.sqrt(2001 / (12 * 1000**2))


@pytest.mark.parametrize("per_sample", [True, False])
def test_units_and_orders_of_the_scalars_do_not_matter(per_sample: bool) -> None:
    x, inside = planted(4, 4, 100)
    plain = LinearRatio(per_sample).fit(x, inside).project(x[0])
    other = (x * np.array([1e4, -1e-3, 7.0]))[..., [2, 0, 1]]
    np.testing.assert_allclose(LinearRatio(per_sample).fit(other, inside).project(other[0]), plain, rtol=1e-8)


@pytest.mark.parametrize("per_sample", [True, False])
def test_scalars_that_do_not_vary_or_repeat_others_do_not_blow_up(per_sample: bool) -> None:
    x, inside = planted(5, 4, 100)
    plain = LinearRatio(per_sample).fit(x, inside).project(x[0])
    tied = np.concatenate([x, np.zeros_like(x[..., :1]), np.full_like(x[..., :1], 0.1)], axis=-1)
    model = LinearRatio(per_sample).fit(tied, inside)
    np.testing.assert_array_equal(model.direction_[3:], 0.0)
    np.testing.assert_allclose(model.project(tied[0]), plain, rtol=1e-9)
    signs = np.where(np.random.default_rng(5).random(x.shape[:2]) < 0.5 + 0.1 * inside, 1.0, -1.0)
    repeated = np.stack([signs, signs, 3 * signs], axis=-1)
    project = LinearRatio(per_sample).fit(repeated, inside).project(repeated[0])
    alone = LinearRatio(per_sample).fit(repeated[..., :1], inside).project(repeated[0, :, :1])
    assert np.corrcoef(project, alone)[0, 1] == pytest.approx(1)
    assert np.abs(project).max() < 2 * np.abs(alone).max()
    assert not LinearRatio(per_sample).fit(0 * x, inside).project(x[0]).any()


@pytest.mark.parametrize("per_sample", [True, False])
def test_what_is_unknown_says_nothing(per_sample: bool) -> None:
    """A shadow that lacks one scalar of an image is as one that never saw it: its other scalars do not matter."""
    x, inside = planted(8, 6, 60, level=1.0)
    x[2, :40, 0] = np.nan
    plain = LinearRatio(per_sample).fit(x, inside).direction_
    x[2, :40, 1:] *= 5
    np.testing.assert_allclose(LinearRatio(per_sample).fit(x, inside).direction_, plain, rtol=1e-12)
    assert np.isfinite(plain).all() and plain.all()


def test_too_few_shadows_are_named() -> None:
    x, inside = planted(6, 2, 20)
    with pytest.raises(InputError, match=r"at least 4 shadows in the balanced layout\), got 2 shadows"):
        LinearRatio(True).fit(x[1:], inside[1:])
    with pytest.raises(InputError, match="at least 2 members and 2 non-members in the shadows to become one, got 0"):
        LinearRatio(False).fit(x, np.zeros_like(inside))

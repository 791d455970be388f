"""The Gaussian head against ridges written out, each penalty judged by refits without one image."""

import numpy as np
import pytest

from lpla.attacks.likelihood.gaussian_head import PENALTIES, SMALLEST, GaussianHead


def planted(seed: int, images: int, shadows: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features, values, which of them are known, and every image's true deviation."""
    random = np.random.default_rng(seed)
    f = random.normal(size=(images, 3))
    deviation = np.exp(0.5 * f[:, 1] - 1)
    y = 2 + f[:, 0] + deviation * random.normal(size=(shadows, images))
    return f, y, random.random(y.shape) < 0.6, deviation


def slow_ridge(f: np.ndarray, y: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Predictions of the ridge whose penalty is best when every image is left out in turn."""
    count = known.sum(axis=0)
    mean = np.array([np.mean(y[known[:, i], i]) if count[i] else 0 for i in range(len(f))])

    def fitted(keep: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        w = count[keep]
        design = np.column_stack([np.ones(keep.sum()), f[keep]])
        ridge = np.diag([0.0] + [penalty] * f.shape[1])
        solution = np.linalg.solve(design.T @ (w[:, None] * design) + ridge, design.T @ (w * mean[keep]))
        return solution[0], solution[1:]

    def error(penalty: float) -> float:
        total = 0.0
        for i in np.flatnonzero(count):
            constant, slope = fitted((count > 0) & (np.arange(len(f)) != i), penalty)
            total += count[i] * (mean[i] - constant - f[i] @ slope) ** 2
        return total

    best = min((count.sum() * one for one in PENALTIES), key=error)
    constant, slope = fitted(count > 0, best)
    return constant + f @ slope


def test_agrees_with_ridges_refitted_without_each_image() -> None:
    f, y, known, _ = planted(0, 60)
    known[:, 0] = False
    centre = slow_ridge(f, y, known)
    squared = (y - centre) ** 2
    log_squared = np.log(np.maximum(squared, SMALLEST * squared[known].mean()))
    variance = np.exp(slow_ridge(f, log_squared, known))
    variance = variance * (squared / variance)[known].mean()
    np.testing.assert_allclose(
        GaussianHead().fit(f, y, known).standardise(f, y), (y - centre) / np.sqrt(variance), rtol=1e-6, atol=1e-6
    )


def test_recovers_a_spread_that_depends_on_the_features() -> None:
    f, y, known, deviation = planted(1, 3000)
    head = GaussianHead().fit(f, y, known)
    fresh, z, _, _ = planted(2, 3000)
    residual = head.standardise(fresh, z)
    assert residual.std() == pytest.approx(1, abs=0.1)
    at_one = head.standardise(f, np.ones(len(f))) - head.standardise(f, np.zeros(len(f)))
    np.testing.assert_allclose(np.median(np.abs(np.log(at_one * deviation))), 0, atol=0.1)


def test_features_that_tell_nothing_are_shrunk_away() -> None:
    f, y, known, _ = planted(3, 500)
    noise = np.random.default_rng(4).normal(size=y.shape)
    head = GaussianHead().fit(f, noise, known)
    assert head.mean_.predict(f).std() < 0.1


def test_unit_and_zero_of_the_values_change_nothing() -> None:
    f, y, known, _ = planted(5, 200)
    plain = GaussianHead().fit(f, y, known).standardise(f, y)
    moved = GaussianHead().fit(f, 7 * y - 3, known).standardise(f, 7 * y - 3)
    np.testing.assert_allclose(moved, plain, rtol=1e-7, atol=1e-7)


def test_unknown_values_teach_nothing() -> None:
    f, y, known, _ = planted(6, 200)
    wild = np.where(known, y, 1e3)
    np.testing.assert_array_equal(
        GaussianHead().fit(f, y, known).standardise(f, y), GaussianHead().fit(f, wild, known).standardise(f, y)
    )


def test_constant_values_are_ties() -> None:
    f, y, known, _ = planted(7, 50)
    assert not GaussianHead().fit(f, np.zeros_like(y), known).standardise(f, np.zeros_like(y)).any()

"""The moment fit of (d0, s0^2): it finds what was planted, and the limits it is allowed to take."""

import math

import numpy as np
import pytest
from scipy.special import polygamma

from lpla.attacks.likelihood.variance_prior import _trigamma_inverse, fit_variance_prior


@pytest.mark.parametrize("x", [1e-8, 1e-4, 0.03, 1.0, 1.6449340668, 40.0, 1e5, 1e9])
def test_trigamma_inverse(x: float) -> None:
    assert polygamma(1, _trigamma_inverse(x)) == pytest.approx(x, rel=1e-5)


@pytest.mark.parametrize("d0", [3.0, 10.0])
def test_finds_the_planted_prior(d0: float) -> None:
    random = np.random.default_rng(0)
    dof = random.integers(2, 8, 20_000)
    variance = 0.7 * d0 / random.chisquare(d0, dof.size)
    found, s02 = fit_variance_prior(variance * random.chisquare(dof), dof)
    # standard errors over 40 draws of this size: d0 1.7 % and 4.5 %, s0^2 1 %
    assert found == pytest.approx(d0, rel=0.15)
    assert s02 == pytest.approx(0.7, rel=0.03)


def test_equal_variances_are_pooled() -> None:
    squares = 4.0 * np.ones(50)
    assert fit_variance_prior(squares, np.full(50, 2)) == (math.inf, 2.0)
    assert fit_variance_prior(np.array([6.0]), np.array([3])) == (math.inf, 2.0)


def test_zeros_do_not_reach_the_logarithm() -> None:
    random = np.random.default_rng(1)
    squares = random.chisquare(4, 100)
    squares[:10] = 0
    d0, s02 = fit_variance_prior(squares, np.full(100, 4))
    assert 0 < d0 < math.inf and s02 > 0
    d0, s02 = fit_variance_prior(np.zeros(10), np.full(10, 4))
    assert d0 == math.inf and s02 > 0

"""Epsilon against Opacus' accountant, slow integrals and pairs of mixtures that a replaced image can make."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from lpla.encoders.defense import _accountant
from lpla.encoders.defense._accountant import ORDERS, epsilon, epsilon_of, noise_for, renyi_divergences

PAIRS = [(1e-3, 0.7), (0.01, 1.0), (0.1, 0.5), (0.2, 2.0), (0.5, 4.0), (1.0, 1.0)]
SOME = np.array([1.25, 2.0, 5.0, 17.0, 40.0])


@pytest.mark.parametrize(("rate", "multiplier"), PAIRS)
def test_an_added_image_costs_what_opacus_says(rate: float, multiplier: float) -> None:
    from opacus.accountants.analysis.rdp import compute_rdp

    theirs = compute_rdp(q=rate, noise_multiplier=multiplier, steps=1, orders=list(SOME))
    assert renyi_divergences(rate, multiplier, "add-or-remove", SOME) == pytest.approx(theirs, rel=1e-6)


def test_epsilon_is_that_of_opacus_own_table() -> None:
    """The example in the documentation of its accountant: orders 2 to 32, two mechanisms, epsilon 0.336 at order 23."""
    orders = np.arange(2.0, 33.0)
    spent = sum(
        steps * renyi_divergences(rate, multiplier, "add-or-remove", orders)
        for rate, multiplier, steps in [(1e-5, 1.0, 10), (1e-4, 3.0, 4)]
    )
    assert epsilon_of(np.asarray(spent), 1e-5, orders) == pytest.approx(0.336, abs=5e-4)


@pytest.mark.parametrize(("rate", "multiplier"), PAIRS)
def test_a_replaced_image_costs_the_slow_integral_over_hockey_stick_divergences(rate: float, multiplier: float) -> None:
    """The definition by which the closed integrand was found: each order integrates both directions' profiles."""

    def ratio_exceeds(threshold: float) -> float:
        if threshold <= 1 - rate:
            return -math.inf
        return multiplier * math.log((threshold - 1 + rate) / rate) + 0.5 / multiplier

    def profile(threshold: float) -> float:
        at = ratio_exceeds(threshold)
        without, shifted = norm.sf(at), norm.sf(at - 1 / multiplier)
        return float((1 - rate) * without + rate * shifted - threshold * without)

    for order in (1.25, 2.0, 5.0):
        # In log(threshold), above and below 1; below, H_t(P || Q) - (1 - t) = t H_(1/t)(Q || P).
        def both(log: float, order: float = order) -> float:
            return profile(math.exp(log)) * (math.exp(log * (order - 1)) + math.exp(-log * order))

        spread = quad(both, 0, 40 / multiplier + 5, limit=400, points=[0.01, 0.1, 1.0])[0]
        slow = math.log1p(order * (order - 1) * spread) / (order - 1)
        assert renyi_divergences(rate, multiplier, orders=np.array([order])) == pytest.approx(slow, rel=1e-4)


def divergence(rate: float, z: float, one: np.ndarray, other: np.ndarray, order: float) -> float:
    """Of two mixtures in the plane whose common part is at the origin: one image there, another here, by a grid."""
    axis = np.linspace(-8 * z, 8 * z, 321)
    x, y = np.meshgrid(axis, axis)

    def density(at: np.ndarray) -> np.ndarray:
        return np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * z**2)) / (2 * np.pi * z**2)

    p, q = ((1 - rate) * density(np.zeros(2)) + rate * density(at) for at in (one, other))
    return float(np.log((p**order * q ** (1 - order)).sum() * (axis[1] - axis[0]) ** 2) / (order - 1))


CORNER = np.array([0.5, math.sqrt(3) / 2])
GROUPS = [(np.array([1.0, 0.0]), CORNER), (np.zeros(2), CORNER), (CORNER, np.zeros(2))]
"""A group with an image, with another, and (at the origin) with neither: no two are more than 1 apart."""
IMAGES = (np.array([0.5, 0.0]), np.array([-0.5, 0.0]))
"""The same of images that are clipped one by one, each to 1/2."""


@pytest.mark.parametrize(("rate", "multiplier"), [(0.05, 1.0), (0.3, 1.0), (0.3, 0.6)])
def test_no_replaced_image_costs_more_than_the_bound(rate: float, multiplier: float) -> None:
    for one, other in [*GROUPS, IMAGES]:
        for order in (1.5, 2.0, 4.0):
            bound = renyi_divergences(rate, multiplier, orders=np.array([order]))[0]
            assert divergence(rate, multiplier, one, other, order) <= bound * (1 + 1e-6)


def test_an_accountant_of_added_images_would_claim_too_little_for_replaced_ones() -> None:
    """The fault that the relation guards against: a clip of 1/2 is what an added image moves the sum by."""
    added = renyi_divergences(0.3, 1.0 / 0.5, "add-or-remove", np.array([2.0]))[0]
    assert divergence(0.3, 1.0, *IMAGES, 2.0) > 2 * added


def test_replacing_costs_more_than_adding_and_at_most_twice_the_divergence() -> None:
    for rate, multiplier in PAIRS:
        added = renyi_divergences(rate, multiplier, "add-or-remove", SOME)
        replaced = renyi_divergences(rate, multiplier, orders=SOME)
        assert (replaced >= added * (1 - 1e-9)).all() and (replaced <= 2 * added + 1e-12).all()


def test_what_the_grid_cannot_resolve_is_the_bound_without_sampling() -> None:
    """Noise of a hundredth: the peak of the integrand would lie between two nodes, and epsilon would be too small."""
    some = ORDERS[::12]
    assert renyi_divergences(0.2, 1e-3, orders=some[3:]) == pytest.approx(some[3:] / 2e-6)
    assert epsilon(0.2, 1e-3, 10, 1e-3) > 1e6
    assert (
        np.diff(renyi_divergences(0.2, 0.02, orders=some)) >= -1e-9
    ).all()  # a Rényi divergence never falls with its order


def test_the_ends_of_the_scale() -> None:
    assert epsilon(0.1, 0.0, 5, 1e-3) == math.inf
    assert epsilon(0.1, 1.0, 0, 1e-3) == 0.0
    assert epsilon(0.1, 1.0, 10, 1e-3) < epsilon(0.1, 1.0, 20, 1e-3) < epsilon(0.2, 1.0, 20, 1e-3)


def test_the_noise_that_is_found_spends_the_epsilon_that_was_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_accountant, "NODES", 2049)  # cheaper, and as exact at these orders
    found = noise_for(8.0, 0.2, 100, 1e-3)
    assert 7.9 < epsilon(0.2, found, 100, 1e-3) <= 8.0
    assert epsilon(0.2, found * 0.998, 100, 1e-3) > 8.0

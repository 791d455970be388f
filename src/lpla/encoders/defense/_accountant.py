"""Account for the privacy of noisy sums over images sampled by coins: Rényi divergences, summed over steps.

After Mironov, Talwar & Zhang (arXiv 1908.10530) for an image that is added or removed. For an image that is replaced
the bound is ours, from the advanced joint convexity of Balle, Barthe & Gaboardi (arXiv 1807.01647). The conversion to
epsilon and delta is that of Balle et al. (arXiv 1905.09982, theorem 21).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

ACCOUNTANT_VERSION = 1
"""Raise it when a change here changes an epsilon."""
Relation = Literal["replace-one", "add-or-remove"]
"""Which two sets of training images are neighbours: one image is another one, or one image is missing."""
ORDERS = 1 + np.concatenate([np.geomspace(0.01, 0.09, 6), np.arange(1, 50) / 5, np.geomspace(10, 2047, 60)])
"""Orders of the Rényi divergence, of which the best is taken: every one gives a valid bound."""
NODES = 8193
COARSEST = 0.25
"""Step of the grid in standard deviations up to which the trapezoidal rule is exact to 1e-30 for a Gaussian's peak."""
TAIL = 12.0
"""Standard deviations beyond the integrand's mode at which the integral ends; what follows is below 1e-30 of it."""


def renyi_divergences(
    rate: float, noise_multiplier: float, relation: Relation = "replace-one", orders: Float[np.ndarray, " A"] = ORDERS
) -> Float[np.ndarray, " A"]:
    """Bound the Rényi divergences between the noisy sums of two neighbouring sets, of one step.

    Write L for the likelihood ratio of (1 - q) N(0, z^2) + q N(1, z^2) and N(0, z^2), E for the mean under the latter.
    With a removed or an added image the divergence of order a is log E[L^a] / (a - 1). With a replaced image, both sums
    have the part of the mixture without that image in common. Advanced joint convexity bounds every hockey-stick
    divergence at e^eps >= 1, in both directions, by that of the pair above, and a Rényi divergence is an integral of
    hockey-stick divergences. Worked out, it is log(1 + E[(L^a - 1) (1 - L^(1 - a)); L > 1]) / (a - 1).

    Args:
        rate: The probability q with which an image is sampled, in (0, 1].
        noise_multiplier: The noise's standard deviation z over what one image moves the sum by; 0 protects nothing.
        relation: Which sets are neighbours.
        orders: Orders a > 1.

    Returns:
        A bound for each order; infinite without noise.
    """
    orders = np.asarray(orders, dtype=float)
    if not noise_multiplier:
        return np.full(len(orders), np.inf)
    unsampled = orders / (2 * noise_multiplier**2)
    start = 0.5 / noise_multiplier if relation == "replace-one" else -TAIL
    end = np.maximum(orders, 0.5) / noise_multiplier + TAIL
    step = (end - start) / (NODES - 1)
    x = start + step[:, None] * np.arange(NODES)
    u = _log_ratio(x, rate, noise_multiplier)
    integrand = -0.5 * x**2 - 0.5 * math.log(2 * math.pi) + np.log(step[:, None])
    a = orders[:, None]
    if relation == "add-or-remove":
        found = np.logaddexp.reduce(integrand + a * u, axis=1)
    else:
        # At L = 1 the integrand is 0, and so is its slope: the trapezoidal rule needs no weights for the ends.
        parts = _log_expm1(a * u) + _log_expm1((a - 1) * u) - (a - 1) * u
        found = np.logaddexp(0.0, np.logaddexp.reduce(integrand + parts, axis=1))
    # Sampling never harms: where the grid is too coarse for the integrand, the bound without sampling is given.
    return np.where(step <= COARSEST, np.minimum(found / (orders - 1), unsampled), unsampled)


def epsilon(
    rate: float, noise_multiplier: float, steps: int, delta: float, relation: Relation = "replace-one"
) -> float:
    """Calculate the epsilon that a number of steps with independent noise spends.

    Args:
        rate: As of `renyi_divergences`.
        noise_multiplier: As of `renyi_divergences`.
        steps: How often a noisy sum is released.
        delta: Probability with which epsilon may be exceeded, in (0, 1).
        relation: As of `renyi_divergences`.

    Returns:
        The smallest epsilon of all orders; 0 without a step, infinite without noise.
    """
    if not steps:
        return 0.0
    spent = steps * renyi_divergences(rate, noise_multiplier, relation)
    return epsilon_of(spent, delta)


def epsilon_of(spent: Float[np.ndarray, " A"], delta: float, orders: Float[np.ndarray, " A"] = ORDERS) -> float:
    """Convert Rényi divergences to epsilon.

    Args:
        spent: The divergence of each order, of all steps together.
        delta: Probability with which epsilon may be exceeded, in (0, 1).
        orders: The orders.

    Returns:
        The smallest epsilon of all orders.
    """
    found = spent + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return max(0.0, float(found.min()))


def noise_for(wanted: float, rate: float, steps: int, delta: float, relation: Relation = "replace-one") -> float:
    """Find the smallest noise multiplier, to 0.1 %, with which so many steps spend an epsilon of at most `wanted`.

    Args:
        wanted: The epsilon, > 0.
        rate: As of `renyi_divergences`.
        steps: As of `epsilon`.
        delta: As of `epsilon`.
        relation: As of `renyi_divergences`.

    Returns:
        The noise multiplier.
    """
    low, high = 0.0, 1.0
    while epsilon(rate, high, steps, delta, relation) > wanted:
        low, high = high, 2 * high
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if epsilon(rate, middle, steps, delta, relation) <= wanted else (middle, high)
    return high


def _log_ratio(x: np.ndarray, rate: float, z: float) -> np.ndarray:
    """The logarithm of L at the noise x, in units of its standard deviation."""
    tilt = x / z - 0.5 / z**2
    if rate == 1:
        return tilt
    near = np.log1p(rate * np.expm1(np.minimum(tilt, 0.5)))
    return np.where(tilt < 0.5, near, np.logaddexp(math.log1p(-rate), math.log(rate) + tilt))


def _log_expm1(t: np.ndarray) -> np.ndarray:
    """The logarithm of e^t - 1; of t <= 0, which rounding makes of 0, that of 0."""
    with np.errstate(divide="ignore"):
        return np.where(t > 30, t, np.log(np.expm1(np.clip(t, 0.0, 30.0))))

"""Empirical-Bayes prior of many variances, each estimated from few values (Smyth 2004, section 6.2; limma fitFDist)."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.special import digamma, polygamma

OFFSET = 1e-5
"""Part of the typical variance to which smaller ones are raised before the logarithm, as limma does."""


def fit_variance_prior(squares: Float[np.ndarray, " N"], dof: Int[np.ndarray, " N"]) -> tuple[float, float]:
    """(d0, s0^2) of SS_i/dof_i ~ s0^2 F(dof_i, d0), from the mean and variance of its logarithm.

    d0 = inf where the estimates differ no more than chance makes them: then s0^2 is the pooled variance.
    """
    raw = squares / dof
    typical = np.median(raw) or raw.mean() or 1.0
    variance = np.maximum(raw, OFFSET * typical)
    centred = np.log(variance) - digamma(dof / 2) + np.log(dof / 2)
    excess = 0.0
    if len(variance) > 1:
        excess = float(centred.var(ddof=1) - polygamma(1, dof / 2).mean())
    if excess <= 0:
        return math.inf, float(np.average(variance, weights=dof))
    d0 = 2 * _trigamma_inverse(excess)
    return d0, math.exp(centred.mean() + digamma(d0 / 2) - math.log(d0 / 2))


def moderate(
    squares: Float[np.ndarray, " N"], dof: Int[np.ndarray, " N"], d0: float, s02: float
) -> Float[np.ndarray, " N"]:
    """Move each image's own variance towards the prior's: (d0 s0^2 + SS_i) / (d0 + dof_i).

    Args:
        squares: Sum of squares of each image.
        dof: Its degrees of freedom.
        d0: Degrees of freedom of the prior.
        s02: Variance of the prior.

    Returns:
        A variance for each image.
    """
    return np.full(len(dof), s02) if math.isinf(d0) else (d0 * s02 + squares) / (d0 + dof)


def _trigamma_inverse(x: float) -> float:
    """y > 0 with trigamma(y) = x, by Newton's method on 1/trigamma, which is convex and nearly linear."""
    if x > 1e7:
        return 1 / math.sqrt(x)
    if x < 1e-6:
        return 1 / x
    y = 0.5 + 1 / x
    for _ in range(50):
        slope = polygamma(1, y)
        step = float(slope * (1 - slope / x) / polygamma(2, y))
        y += step
        if -step / y < 1e-12:
            break
    return y

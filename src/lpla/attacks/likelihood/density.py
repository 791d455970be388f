"""Densities of an image's mean m_i among members and among non-members, where a normal one does not fit.

`student_t`: location, scale and degrees of freedom by maximum likelihood, with the EM of Liu and Rubin (1995).
`kde`: Gaussian kernels of Scott's (1992) bandwidth, evaluated on a grid (Silverman 1982).
Tied, both sides share everything but the location (`student_t`) and the bandwidth (`kde`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize_scalar
from scipy.stats import t

LARGEST_SAMPLE = 4000
"""A larger sample is replaced by this many of its order statistics, evenly spaced: a matter of seconds."""
DOF = (1.0, 100.0)
"""Degrees of freedom that are tried: from Cauchy's to what cannot be told from a normal distribution."""
ITERATIONS, TOLERANCE = 200, 1e-6
FLOOR = 1e-6
"""Smallest variance, as a part of the sample's."""
GRID = 20
"""Grid points per bandwidth: interpolation errs by less than a thousandth of the peak."""
REACH = 5
"""Bandwidths after which a kernel is taken as zero."""

Sides = Sequence[Float[np.ndarray, " _n"]]
"""The values of non-members, then those of members."""


class StudentT:
    """Student's t distribution of members' and of non-members' means.

    Fitted: `location_`, `scale_`, `dof_`, each [2], y = 0 out and 1 in.
    """

    def fit(self, sides: Sides, tie: bool) -> Self:
        """Maximum likelihood, both sides at once if tied."""
        groups = [sides] if tie else [[side] for side in sides]
        fits = [_fit_student(group) for group in groups]
        self.location_ = np.concatenate([location for location, _, _ in fits])
        self.scale_ = np.resize([scale for _, scale, _ in fits], 2)
        self.dof_ = np.resize([dof for _, _, dof in fits], 2)
        return self

    def log_ratio(self, value: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """log f_in - log f_out, finite as a t density is nowhere zero."""
        outside, inside = (
            t.logpdf(value, self.dof_[y], self.location_[y], self.scale_[y]) for y in (0, 1)
        )  # fmt: skip
        return inside - outside


def _fit_student(sides: Sides) -> tuple[Float[np.ndarray, " S"], float, float]:
    """Location per side, common scale and degrees of freedom, by EM whose last step maximises the likelihood itself."""
    sides = [_thinned(side) for side in sides]
    everyone = np.concatenate(sides)
    smallest = FLOOR * np.var(everyone) or 1.0
    location, dof = np.array([np.median(side) for side in sides]), 10.0
    scale2 = max(np.mean((everyone - np.repeat(location, [len(side) for side in sides])) ** 2), smallest)
    for _ in range(ITERATIONS):
        before = np.append(location, scale2)
        weights = [(dof + 1) / (dof + (side - m) ** 2 / scale2) for side, m in zip(sides, location, strict=True)]
        location = np.array([np.average(side, weights=w) for side, w in zip(sides, weights, strict=True)])
        residual = np.concatenate([side - m for side, m in zip(sides, location, strict=True)])
        scale2 = max(np.mean(np.concatenate(weights) * residual**2), smallest)
        dof = _best_dof(residual / np.sqrt(scale2))
        if np.allclose(np.append(location, scale2), before, rtol=TOLERANCE, atol=TOLERANCE * np.sqrt(scale2)):
            break
    return location, float(np.sqrt(scale2)), dof


def _best_dof(residual: Float[np.ndarray, " n"]) -> float:
    found = minimize_scalar(lambda log_dof: -t.logpdf(residual, np.exp(log_dof)).sum(), bounds=np.log(DOF))
    return float(np.exp(found.x))


def _thinned(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
    if len(values) <= LARGEST_SAMPLE:
        return values
    middles = (np.arange(LARGEST_SAMPLE) + 0.5) * len(values) / LARGEST_SAMPLE
    return np.sort(values)[middles.astype(int)]


class Kde:
    """A kernel density of members' and of non-members' means.

    Fitted: `bandwidth_` [2], y = 0 out and 1 in; `floor_`, which is added to both densities.

    The floor is the peak of one image's kernel, as if one image of each side lay wherever one looks: where neither side
    has any image the ratio is 1, and a single image never decides.
    """

    def fit(self, sides: Sides, tie: bool) -> Self:
        """Put a kernel on every value."""
        counts = np.array([len(side) for side in sides])
        deviation = np.array([side.std(ddof=1) for side in sides])
        if tie:
            deviation[:] = np.sqrt(np.sum(deviation**2 * (counts - 1)) / np.sum(counts - 1))
            counts[:] = counts.mean()
        self.bandwidth_ = deviation * counts**-0.2
        self.bandwidth_[self.bandwidth_ == 0] = self.bandwidth_.max() or 1.0
        self._grids = [_smoothed(side, h) for side, h in zip(sides, self.bandwidth_, strict=True)]
        peaks = [1 / (len(side) * h * np.sqrt(2 * np.pi)) for side, h in zip(sides, self.bandwidth_, strict=True)]
        self.floor_ = max(peaks)
        return self

    def log_ratio(self, value: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """log (f_in + floor) - log (f_out + floor)."""
        outside, inside = (np.interp(value, points, f, left=0.0, right=0.0) for points, f in self._grids)
        return np.log(inside + self.floor_) - np.log(outside + self.floor_)


def _smoothed(values: Float[np.ndarray, " n"], h: float) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """Grid and density: every value is shared out between its two neighbouring points, which are then smoothed.

    With Scott's h an outlier stretches the grid and the bandwidth alike: there are at most some n^0.7 bandwidths.
    """
    step = h / GRID
    start = values.min() - REACH * h
    points = start + step * np.arange(int(np.ceil((np.ptp(values) + 2 * REACH * h) / step)) + 2)
    place = (values - start) / step
    left = place.astype(int)
    mass = np.bincount(left, 1 - (place - left), len(points)) + np.bincount(left + 1, place - left, len(points))
    density = gaussian_filter1d(mass, GRID, mode="constant", truncate=REACH) / (len(values) * step)
    return points, density


DensityName = Literal["gaussian", "student_t", "kde"]
DENSITIES = {"student_t": StudentT, "kde": Kde}
"""Besides `gaussian`, which ClassConditional is by itself."""

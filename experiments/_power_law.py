"""A leak as a power of the members and of the epochs, with intervals over targets and predictions near the measured.

The exponents of y = c N^a T^b are fitted without a logarithm of y, by Poisson's likelihood (Santos Silva & Tenreyro,
"The Log of Gravity", 2006): a small leak is measured below 0 now and then, and dropping such cells would flatten the
slopes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import stdtrit

from lpla.contracts.result import InputError
from lpla.metrics.roc import ALPHA, Estimate
from lpla.metrics.targets import FEWEST

FARTHEST = 10
"""Times the largest, or parts of the smallest, members and epochs measured for which a figure is predicted."""
STEEPEST = 20.0
"""A slope beyond which the cells do not determine it."""


@dataclass(frozen=True)
class Cell:
    """What the targets of one seed leak on average at one number of members and one of epochs; it may be negative."""

    seed: int
    members: int
    epochs: int
    value: float


@dataclass(frozen=True)
class PowerLaw:
    """The fit of every seed: log of the figure at one member and one epoch, and the slopes against both in log-log."""

    fits: Float[np.ndarray, "S 3"]
    members: tuple[int, int]
    epochs: tuple[int, int]
    """Smallest and largest that were measured."""

    @property
    def slopes(self) -> tuple[Estimate, Estimate]:
        """Against the members and against the epochs: mean over the seeds and Student's 95 % interval."""
        against_members, against_epochs = (_student(self.fits[:, place], 0.0) for place in (1, 2))
        return against_members, against_epochs

    def at(self, members: float, epochs: float) -> float:
        """The figure as fitted, a geometric mean over the seeds."""
        return math.exp(float(np.mean(self._logs(members, epochs))))

    def predict(self, members: int, epochs: int) -> Estimate:
        """The figure at other numbers, with the interval in which that of one further seed falls with 95 %.

        Raises:
            InputError: beyond a factor of `FARTHEST` of what was measured.
        """
        check_range(self.members, self.epochs, members, epochs)
        found = _student(self._logs(members, epochs), 1.0)
        return Estimate(math.exp(found.value), math.exp(found.low), math.exp(found.high))

    def _logs(self, members: float, epochs: float) -> Float[np.ndarray, " S"]:
        return self.fits @ np.array([1.0, math.log(members), math.log(epochs)])


def check_range(measured_members: Sequence[int], measured_epochs: Sequence[int], members: int, epochs: int) -> None:
    """Raise InputError for a prediction too far from the smallest and the largest that is measured."""
    asked = (("members", measured_members, members), ("epochs", measured_epochs, epochs))
    for name, measured, wanted in asked:
        low, high = min(measured) / FARTHEST, max(measured) * FARTHEST
        if not low <= wanted <= high:
            here = f"{min(measured)} to {max(measured)} are measured"
            raise InputError(
                f"a prediction needs {name} from {math.ceil(low)} to {high}, which is {FARTHEST} times beyond the grid "
                f"({here}), got {wanted}"
            )


def power_law(cells: Sequence[Cell]) -> PowerLaw:
    """Fit the exponents to the cells of each seed, whose targets share a pool, and so keep seeds apart.

    Raises:
        InputError: if a seed's cells vary in one of the two numbers alone or are fewer than 3, or if there is no leak
            of which a slope could be measured.
    """
    if not cells:
        raise InputError("a power law needs measured cells, got none")
    seeds = sorted({one.seed for one in cells})
    fits = np.stack([_fit([one for one in cells if one.seed == seed]) for seed in seeds])
    members, epochs = ([getattr(one, name) for one in cells] for name in ("members", "epochs"))
    return PowerLaw(fits, (min(members), max(members)), (min(epochs), max(epochs)))


def _fit(cells: Sequence[Cell]) -> Float[np.ndarray, " 3"]:
    """Log of the scale and both exponents: the minimum of sum(mu - y log mu), convex whatever the sign of y."""
    logs = np.log([[one.members, one.epochs] for one in cells])
    y, centre = np.array([one.value for one in cells]), logs.mean(axis=0)
    design = np.column_stack([np.ones(len(cells)), logs - centre])
    if np.linalg.matrix_rank(design) < 3:
        grid = " ".join(f"{one.members}x{one.epochs}" for one in cells)
        raise InputError(f"slopes need at least 2 members and 2 epochs crossed in every seed, got {grid}")
    if (level := float(y.mean())) <= 0:
        raise InputError(f"no slopes, as seed {cells[0].seed} shows no leak: the mean over its cells is {level:.3g}")
    y = y / level

    def value(b: np.ndarray) -> tuple[float, np.ndarray]:
        mu = np.exp(np.minimum(design @ b, 300))
        return float((mu - y * (design @ b)).sum()), design.T @ (mu - y)

    def curvature(b: np.ndarray) -> np.ndarray:
        return (design.T * np.exp(np.minimum(design @ b, 300))) @ design

    found = minimize(value, np.zeros(3), jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-10})
    scale, *slopes = found.x
    if not np.isfinite(found.x).all() or max(map(abs, slopes)) > STEEPEST:
        raise InputError(f"no slopes, as the cells of seed {cells[0].seed} show too little of a leak to determine them")
    return np.array([scale + math.log(level) - slopes @ centre, *slopes])


def _student(values: Float[np.ndarray, " S"], further: float) -> Estimate:
    """Mean with Student's interval, of the mean itself or (1.0) of one `further` value; without ends below 3 values."""
    count, mean = len(values), float(values.mean())
    if count < FEWEST:
        return Estimate(mean, -math.inf, math.inf)
    reach = float(stdtrit(count - 1, 1 - ALPHA / 2)) * float(values.std(ddof=1)) * math.sqrt(further + 1 / count)
    return Estimate(mean, mean - reach, mean + reach)

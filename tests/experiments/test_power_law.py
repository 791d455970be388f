"""Power laws of a leak: planted exponents are found, intervals cover, and far predictions are refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import PoissonRegressor

from experiments._power_law import Cell, power_law
from lpla.contracts.result import InputError

GRID = [(n, t) for n in (50, 100, 200) for t in (50, 100, 200)]


def planted(
    seed: int,
    seeds: int = 3,
    a: float = -0.7,
    b: float = 0.5,
    scale: float = 0.2,
    pool: float = 0.0,
    noise: float = 0.0,
) -> list[Cell]:
    """A leak of `scale` at 100 members and 100 epochs; seeds differ in scale and slopes by `pool`, cells by `noise`."""
    random, found = np.random.default_rng(seed), []
    for one in range(seeds):
        own = pool * random.normal(size=3)
        for n, t in GRID:
            y = scale * math.exp(own[0]) * (n / 100) ** (a + own[1]) * (t / 100) ** (b + own[2])
            found.append(Cell(one, n, t, y + noise * random.normal() / math.sqrt(n)))
    return found


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(1e-4, 10))
@settings(max_examples=40, deadline=None)
def test_planted_exponents_are_found_and_a_prediction_is_the_law(a: float, b: float, scale: float) -> None:
    law = power_law(planted(0, a=a, b=b, scale=scale))
    members, epochs = law.slopes
    assert members.value == pytest.approx(a, abs=1e-6) and epochs.value == pytest.approx(b, abs=1e-6)
    assert members.high - members.low < 1e-5
    there = law.predict(1000, 25)
    assert there.value == pytest.approx(scale * 10**a * 0.25**b, rel=1e-5)
    assert law.at(1000, 25) == pytest.approx(there.value)


@pytest.mark.parametrize("seed", range(3))
def test_exponents_are_those_of_another_poisson_regression(seed: int) -> None:
    cells = planted(seed, seeds=1, noise=0.3)
    assert min(one.value for one in cells) > 0
    logs = np.log([[one.members, one.epochs] for one in cells])
    y = np.array([one.value for one in cells])
    other = PoissonRegressor(alpha=0, tol=1e-10, max_iter=10_000).fit(logs - logs.mean(axis=0), y / y.mean())
    assert [one.value for one in power_law(cells).slopes] == pytest.approx(other.coef_, abs=1e-4)


@given(st.integers(0, 50), st.floats(0.01, 100), st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_units_do_not_matter_to_slopes(seed: int, unit: float, times: int) -> None:
    cells = planted(seed, pool=0.2, noise=0.2)
    scaled = [Cell(one.seed, times * one.members, one.epochs, unit * one.value) for one in cells]
    law, other = power_law(cells), power_law(scaled)
    for mine, theirs in zip(law.slopes, other.slopes, strict=True):
        assert (mine.value, mine.low, mine.high) == pytest.approx((theirs.value, theirs.low, theirs.high), abs=1e-5)
    assert other.at(100 * times, 100) == pytest.approx(unit * law.at(100, 100), rel=1e-4)


def test_cells_below_zero_count_and_do_not_flatten_the_slopes() -> None:
    """The fault of log-log least squares: cells where noise hides the leak have no logarithm; those left are high."""
    ours, logarithms, negative = [], [], 0
    for seed in range(200):
        cells = planted(seed, seeds=1, a=-2.0, b=0.0, scale=0.1, noise=0.4)
        negative += sum(one.value <= 0 for one in cells)
        ours.append(power_law(cells).slopes[0].value)
        kept = [one for one in cells if one.value > 0]
        logs = np.log([[one.members, one.epochs, one.value] for one in kept])
        design = np.column_stack([np.ones(len(kept)), logs[:, :2]])
        logarithms.append(np.linalg.lstsq(design, logs[:, 2], rcond=None)[0][1])
    assert negative > 50
    assert abs(np.median(ours) + 2) < 0.06 and np.median(logarithms) > -1.92


def test_the_intervals_cover_the_exponents_and_the_next_seed() -> None:
    slope = ahead = 0
    for seed in range(400):
        cells = planted(seed, seeds=5, pool=0.2, noise=0.2)
        known, further = [one for one in cells if one.seed < 4], power_law([one for one in cells if one.seed == 4])
        law = power_law(known)
        slope += law.slopes[0].low <= -0.7 <= law.slopes[0].high
        there = law.predict(400, 400)
        ahead += there.low <= further.at(400, 400) <= there.high
    error = 3 * math.sqrt(0.05 * 0.95 / 400)
    assert abs(slope / 400 - 0.95) < error and abs(ahead / 400 - 0.95) < error


def test_two_seeds_have_no_interval() -> None:
    law = power_law(planted(0, seeds=2, noise=0.1))
    assert law.slopes[0].low == -math.inf and law.predict(100, 100).high == math.inf


@pytest.mark.parametrize(
    ("members", "epochs", "sentence"),
    [
        (2001, 100, "members from 5 to 2000, which is 10 times beyond the grid .50 to 200 are measured., got 2001"),
        (4, 100, "members from 5 to 2000.* got 4"),
        (100, 2001, "epochs from 5 to 2000.* got 2001"),
    ],
)
def test_a_prediction_beyond_a_factor_of_ten_is_refused(members: int, epochs: int, sentence: str) -> None:
    law = power_law(planted(0))
    law.predict(2000, 5)
    with pytest.raises(InputError, match=sentence):
        law.predict(members, epochs)


def test_cells_that_determine_no_slope_are_refused() -> None:
    cells = planted(0)
    with pytest.raises(InputError, match="at least 2 members and 2 epochs crossed in every seed, got 50x50 50x100"):
        power_law([one for one in cells if one.members == 50])
    with pytest.raises(InputError, match="needs measured cells, got none"):
        power_law([])
    with pytest.raises(InputError, match="seed 1 shows no leak"):
        power_law([Cell(one.seed, one.members, one.epochs, one.value * (1 - 2 * (one.seed == 1))) for one in cells])
    lone = [Cell(0, n, t, 0.3 if (n, t) == (50, 50) else -0.03) for n, t in GRID]
    with pytest.raises(InputError, match="too little of a leak"):
        power_law(lone)

"""The interval of a recipe over its targets: by scipy, at few targets, and its coverage."""

import math

import numpy as np
import pytest
from scipy.stats import t

from lpla.metrics.roc import auc, delong_error, placements
from lpla.metrics.targets import error_of, over_targets


def test_student_s_interval_of_the_recipe_and_of_the_next_target() -> None:
    values, errors = [0.61, 0.7, 0.66, 0.75], [0.02, 0.03, 0.02, 0.04]
    found = over_targets(values, errors)
    low, high = t.interval(0.95, 3, np.mean(values), np.std(values, ddof=1) / 2)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    reach = t.ppf(0.975, 3) * np.std(values, ddof=1) * math.sqrt(1.25)
    assert (found.next_low, found.next_high) == pytest.approx((found.mean - reach, found.mean + reach))
    assert found.spread == pytest.approx(math.sqrt(np.var(values, ddof=1) - np.mean(np.square(errors))))


def test_few_targets() -> None:
    two = over_targets([0.6, 0.7], [0.04, 0.04])
    assert two.low is two.high is two.next_low is two.next_high is None
    three = over_targets([0.65, 0.65, 0.651], [0.04, 0.04, 0.04])
    assert three.low == pytest.approx(three.mean - t.ppf(0.975, 2) * 0.04 / math.sqrt(3)) and three.spread == 0
    four = over_targets([0.65, 0.65, 0.651, 0.65], [0.04, 0.04, 0.04, 0.04])
    assert four.low == pytest.approx(0.65, abs=0.01) and four.spread == 0
    unknown = over_targets([0.65, 0.65, 0.651], [0.04, None, 0.04])
    assert unknown.spread is None and unknown.low == pytest.approx(0.65, abs=0.01)
    assert over_targets([0.99, 0.9, 0.999], [None] * 3).high == 1


def test_the_error_of_an_area_is_read_from_its_interval() -> None:
    member = np.arange(120) < 60
    score = np.random.default_rng(0).normal(1.2 * member)
    area = auc(score, member)
    error, read = delong_error(*placements(score, member)), error_of(area.value, area.low, area.high)
    # The interval is a little wider than DeLong's, and what is read from it with it.
    assert read is not None and error <= read <= 1.02 * error
    assert error_of(1.0, 0.9, 1.0) == pytest.approx(0.1 / 3.92, rel=1e-3) and error_of(0.7, None, None) is None


@pytest.mark.parametrize("targets", [3, 5])
@pytest.mark.parametrize("between", [0.0, 0.06])
def test_the_recipe_s_interval_and_that_of_the_next_target_cover(targets: int, between: float) -> None:
    """[lowest highest] over 2 seeds covered .50."""
    random, rounds, covered = np.random.default_rng(targets), 2000, np.zeros(2)
    for _ in range(rounds):
        values = random.normal(0.7, math.hypot(between, 0.03), targets + 1)
        found = over_targets(values[:-1].tolist(), [0.03] * targets)
        assert found.low is not None and found.high is not None and found.next_low is not None and found.next_high
        covered += [found.low <= 0.7 <= found.high, found.next_low <= values[-1] <= found.next_high]
    error = 3 * math.sqrt(0.05 * 0.95 / rounds)
    assert (covered / rounds >= 0.95 - error).all()
    if targets > 3:
        assert (covered / rounds <= 0.95 + error).all()

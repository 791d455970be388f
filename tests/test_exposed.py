"""Exposed images: the threshold against a loop over all of them, and its promise on targets it did not see."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from lpla.metrics.exposed import exposed, exposure_threshold


def audit(random: np.random.Generator, images: int, leak: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores of which a third of the members stand out by `leak` deviations."""
    member = np.arange(images) % 2 == 0
    shows = member & (random.random(images) < 1 / 3)
    return random.normal(size=images) + leak * shows, member


@pytest.mark.parametrize("prior", [0.5, 0.1])
@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("choices", [1, 19])
def test_threshold_is_the_lowest_of_a_loop(prior: float, unequal: bool, choices: int) -> None:
    score, member = audit(np.random.default_rng(0), 1200, 5.0)
    if unequal:
        kept = ~member | (np.arange(1200) < 900)
        score, member = score[kept], member[kept]
    honest = []
    for cut in score:
        right, wrong = np.sum(score[member] >= cut), np.sum(score[~member] >= cut)
        if right:
            low = beta.ppf(0.05 / choices, right, wrong + 1)
            odds = low / (1 - low) * (~member).sum() / member.sum() * prior / (1 - prior)
            if odds / (1 + odds) >= 0.9:
                honest.append(cut)
    assert exposure_threshold(score, member, prior, choices) == (min(honest) if honest else None)
    assert bool(honest) == (prior == 0.5)


def test_a_threshold_of_the_shadows_keeps_its_promise_on_the_target() -> None:
    random, right, wrong, counted = np.random.default_rng(1), 0, 0, 0
    for _ in range(200):
        threshold = exposure_threshold(*audit(random, 800, 4.0))
        assert threshold is not None
        found = exposed(*audit(random, 200, 4.0), threshold, 0.5)
        right, wrong, counted = right + found.members, wrong + found.nonmembers, counted + 1
    assert right / counted > 20
    assert right / (right + wrong) > 0.9


def test_the_best_of_many_rows_pays_for_the_choice() -> None:
    """Rows that name images of which 89 in 100 are members: one of 20 sets a threshold by chance unless it pays."""
    random, member, free, paid = np.random.default_rng(7), np.arange(1200) % 2 == 0, 0, 0
    for _ in range(100):
        # Two levels alone: there is one threshold that names some and not all.
        rows = (random.random((20, 1200)) < np.where(member, 0.4, 0.4 * 0.11 / 0.89)).astype(float)
        free += any(exposure_threshold(row, member) is not None for row in rows)
        paid += any(exposure_threshold(row, member, 0.5, 20) is not None for row in rows)
    assert free > 15 and paid <= 11


def test_the_bounds_of_one_row_of_many_are_wider() -> None:
    score, member = audit(np.random.default_rng(8), 600, 4.0)
    one, many = (exposed(score, member, 2.5, 0.1, choices) for choices in (1, 20))
    named = one.members + one.nonmembers
    ends = beta.ppf([0.00125, 0.99875], [one.members, one.members + 1], [named - one.members + 1, named - one.members])
    assert one.precision and many.precision and one.nonmembers > 0
    assert (many.precision.low, many.precision.high) == pytest.approx(tuple(ends))
    assert many.precision.low < one.precision.low and many.precision.value == one.precision.value
    assert one.at_prior and many.at_prior and many.at_prior < one.at_prior


def test_without_a_leak_there_is_no_honest_count() -> None:
    random = np.random.default_rng(2)
    found = [exposure_threshold(*audit(random, 800, 0.0)) for _ in range(200)]
    assert all(one is None for one in found)


def test_counting_on_the_target_itself_finds_exposed_images_without_a_leak() -> None:
    """The fault: the highest scores of the target are named as long as they are right."""
    random, found = np.random.default_rng(3), []
    for _ in range(400):
        score, member = audit(random, 200, 0.0)
        found.append(bool(member[np.argmax(score)]))
    assert 0.4 < np.mean(found) < 0.6


def test_nobody_above_the_threshold_has_no_precision() -> None:
    score, member = audit(np.random.default_rng(4), 100, 0.0)
    found = exposed(score, member, 100.0, 0.5)
    assert (found.members, found.nonmembers, found.precision, found.at_prior) == (0, 0, None, None)


@pytest.mark.parametrize("prior", [0.5, 0.1, 0.01])
def test_the_precision_at_a_prior_is_that_of_images_in_that_proportion_under_the_largest_plausible_rate(
    prior: float,
) -> None:
    score, member = audit(np.random.default_rng(5), 600, 4.0)
    found = exposed(score, member, 3.0, prior)
    # The false-positive rate at which so few would be named with probability 5 %, by bisection.
    low, high, rate = 0.0, 1.0, 0.5
    for _ in range(60):
        rate = (low + high) / 2
        low, high = (rate, high) if binom.cdf(found.nonmembers, 300, rate) > 0.05 else (low, rate)
    crowd = 1e6
    right, wrong = prior * crowd * found.members / 300, (1 - prior) * crowd * rate
    assert found.members > 20 and found.at_prior == pytest.approx(right / (right + wrong), rel=1e-6)
    everybody = exposed(score, member, score.min(), prior).at_prior
    assert everybody == pytest.approx(prior)


def test_a_rarer_member_is_named_with_less_precision() -> None:
    score, member = audit(np.random.default_rng(6), 600, 4.0)
    found = [exposed(score, member, 3.0, prior).at_prior or 0 for prior in (0.5, 0.1, 0.01)]
    assert found == sorted(found, reverse=True) and found[2] < 0.5 < found[0]

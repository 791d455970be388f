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
def test_threshold_is_the_lowest_of_a_loop(prior: float, unequal: bool) -> None:
    score, member = audit(np.random.default_rng(0), 1200, 5.0)
    if unequal:
        kept = ~member | (np.arange(1200) < 900)
        score, member = score[kept], member[kept]
    honest = []
    for cut in score:
        right, wrong = np.sum(score[member] >= cut), np.sum(score[~member] >= cut)
        if right:
            low = beta.ppf(0.05, right, wrong + 1)
            odds = low / (1 - low) * (~member).sum() / member.sum() * prior / (1 - prior)
            if odds / (1 + odds) >= 0.9:
                honest.append(cut)
    assert exposure_threshold(score, member, prior) == (min(honest) if honest else None)
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

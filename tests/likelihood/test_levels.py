"""What shadows tell of each image's own level: by loops over images, and what it takes out and leaves."""

import numpy as np
import pytest

from lpla.attacks.likelihood.levels import explained


def slowly(x: np.ndarray, others: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The same by loops, a least-squares line for each column."""
    found = np.zeros(x.shape)
    for f in range(x.shape[1]):
        mean = {}
        for side in (False, True):
            held = [others[k, i, f] for k, i in np.ndindex(inside.shape) if inside[k, i] == side]
            mean[side] = np.mean([one for one in held if np.isfinite(one)])
        level = np.full(len(x), np.nan)
        for i in range(len(x)):
            told = [others[k, i, f] - mean[bool(inside[k, i])] for k in range(len(inside))]
            told = [one for one in told if np.isfinite(one)]
            level[i] = np.mean(told) if told else np.nan
        known = np.isfinite(level) & np.isfinite(x[:, f])
        slope, at_zero = np.polyfit(level[known], x[known, f], 1)
        found[known, f] = slope * level[known] + at_zero - x[known, f].mean()
    return found


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values of a target and of 3 shadows that share a level, memberships, and the target's members."""
    random = np.random.default_rng(0)
    inside, member = random.random((3, 60)) < 0.5, random.random(60) < 0.5
    level = random.normal(size=(60, 4)) * 2
    others = level + inside[..., None] * 1.5 + random.normal(size=(3, 60, 4)) * 0.3
    x = 0.8 * level + member[:, None] * 1.5 + random.normal(size=(60, 4)) * 0.3
    return x, others, inside, member


def test_it_is_the_line_through_levels_and_values(drawn: tuple[np.ndarray, ...]) -> None:
    x, others, inside, _ = drawn
    np.testing.assert_allclose(explained(x, others, inside), slowly(x, others, inside), atol=1e-12)
    x[3, 0], others[:, 4, 1], others[0, 5] = np.nan, np.nan, np.inf
    found = explained(x, others, inside)
    np.testing.assert_allclose(found, slowly(x, others, inside), atol=1e-12)
    assert found[3, 0] == found[4, 1] == 0 and found[5].all()


def test_encoders_that_held_nobody_are_a_plain_regression_on_their_mean(drawn: tuple[np.ndarray, ...]) -> None:
    """References: what a target's statistic shares with theirs, and nothing else, is how hard an image is."""
    x, others, _, _ = drawn
    found = explained(x, others, np.zeros((3, 60), dtype=bool))
    for f in range(x.shape[1]):
        slope, at_zero = np.polyfit(others[:, :, f].mean(axis=0), x[:, f], 1)
        expected = slope * others[:, :, f].mean(axis=0) + at_zero - x[:, f].mean()
        np.testing.assert_allclose(found[:, f], expected, atol=1e-12)


def test_the_level_goes_and_membership_stays(drawn: tuple[np.ndarray, ...]) -> None:
    x, others, inside, member = drawn
    rest = x - explained(x, others, inside)
    before, after = ((one[member].mean(0) - one[~member].mean(0)) / one.std(0) for one in (x, rest))
    assert (after > before + 0.3).all()


def test_scales_and_offsets_of_shadows_do_not_matter_nor_does_their_order(drawn: tuple[np.ndarray, ...]) -> None:
    x, others, inside, _ = drawn
    found = explained(x, others, inside)
    np.testing.assert_allclose(explained(x + 7, 3 * others - 2, inside), found, atol=1e-10)
    np.testing.assert_allclose(explained(x, others[::-1], inside[::-1]), found, atol=1e-12)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-12)


def test_shadows_that_say_nothing_take_nothing_away() -> None:
    x = np.random.default_rng(1).normal(size=(10, 2))
    inside = np.ones((2, 10), dtype=bool)
    assert not explained(x, np.full((2, 10, 2), 3.0), inside).any()
    assert not explained(x, np.full((2, 10, 2), np.nan), inside).any()
    assert not explained(np.full((10, 2), np.nan), np.random.default_rng(2).normal(size=(2, 10, 2)), inside).any()

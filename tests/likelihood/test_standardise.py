"""The scale of an encoder, and the views of an image."""

import numpy as np
import pytest

from lpla.attacks.likelihood.standardise import standardise, view_moments


def sample(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3, 2, (200, 4))


def test_has_median_zero_and_mad_of_a_standard_normal() -> None:
    u = standardise(sample())
    assert np.median(u) == pytest.approx(0, abs=1e-15)
    assert 1.4826 * np.median(np.abs(u)) == pytest.approx(1)


def test_shift_and_scale_of_an_encoder_vanish() -> None:
    np.testing.assert_allclose(standardise(7 * sample() - 5), standardise(sample()), rtol=0, atol=1e-12)


def test_a_spread_of_rounding_noise_is_a_tie() -> None:
    assert not standardise(1e-7 * sample()).any()
    assert standardise(1e-5 * sample()).any()


def test_unusable_views_are_the_middle_and_move_nobody() -> None:
    s = sample()
    s[0, 0], s[1, 1], s[2] = -np.inf, np.nan, np.inf
    unusable = ~np.isfinite(s)
    u = standardise(s)
    assert not u[unusable].any()
    usable = s[~unusable]
    spread = 1.4826 * np.median(np.abs(usable - np.median(usable)))
    np.testing.assert_allclose(u[~unusable], (usable - np.median(usable)) / spread, atol=1e-14)


def test_nothing_usable_is_all_middle() -> None:
    assert not standardise(np.full((3, 2), np.nan)).any()


def test_moments_of_the_views() -> None:
    u = sample()
    mean, within = view_moments(u)
    for i in range(5):
        assert mean[i] == pytest.approx(sum(u[i]) / 4)
        assert within[i] == pytest.approx(sum((value - sum(u[i]) / 4) ** 2 for value in u[i]) / 4)


def test_a_reference_gives_the_scale_in_place_of_the_images() -> None:
    s, known = sample(), 5 * sample(1)[:50] + 2
    known[0], known[1, 1] = np.nan, -np.inf
    usable = known[np.isfinite(known)]
    spread = 1.4826 * np.median(np.abs(usable - np.median(usable)))
    np.testing.assert_allclose(standardise(s, known), (s - np.median(usable)) / spread, rtol=1e-12)
    np.testing.assert_array_equal(standardise(s, s), standardise(s))
    s[3] = np.nan
    assert not standardise(s, known)[3].any()


def test_without_a_usable_reference_all_is_middle() -> None:
    assert not standardise(sample(), np.full((4, 4), np.nan)).any()
    assert not standardise(sample(), np.ones((4, 4))).any()

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


def test_unusable_views_stay_unknown_and_move_nobody() -> None:
    s = sample()
    s[0, 0], s[1, 1], s[2] = -np.inf, np.nan, np.inf
    unusable = ~np.isfinite(s)
    u = standardise(s)
    assert np.isnan(u[unusable]).all()
    usable = s[~unusable]
    spread = 1.4826 * np.median(np.abs(usable - np.median(usable)))
    np.testing.assert_allclose(u[~unusable], (usable - np.median(usable)) / spread, atol=1e-14)


def test_nothing_usable_is_all_unknown() -> None:
    assert np.isnan(standardise(np.full((3, 2), np.nan))).all()


def test_where_most_values_are_one_the_deviation_is_the_scale() -> None:
    """A MAD of 0 made ties of all images, whatever the others said."""
    s = np.full((50, 2), 1.5)
    s[:10] += np.random.default_rng(0).normal(2, 1, (10, 2))
    s[20, 0] += 1e-9
    u = standardise(s)
    np.testing.assert_allclose(u[:10], (s[:10] - 1.5) / s.std(), rtol=1e-6)
    # Rounding noise is not made an order.
    assert not u[10:].any()


def test_unusable_views_leave_an_image_the_moments_of_its_others() -> None:
    u = sample()
    full = view_moments(u.copy())
    u[0, 1:3], u[1] = np.nan, np.nan
    mean, within = view_moments(u)
    assert (mean[0], within[0]) == pytest.approx((u[0, [0, 3]].mean(), u[0, [0, 3]].var()))
    assert np.isnan(mean[1]) and np.isnan(within[1])
    np.testing.assert_array_equal(np.stack([mean, within])[:, 2:], np.stack(full)[:, 2:])


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
    assert np.isnan(standardise(s, known)[3]).all()


def test_without_a_usable_reference_all_is_middle() -> None:
    assert not standardise(sample(), np.full((4, 4), np.nan)).any()
    assert not standardise(sample(), np.ones((4, 4))).any()

"""Whitened statistics against loops; the same bits in any company, prefixes, and what unusable views leave."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lpla.contracts.evidence import Query
from lpla.contracts.inputs import InputError, Views
from lpla.extraction.statistic.principal_axes import Axes, PrincipalAxes
from lpla.extraction.statistic.whitened import EPS, RIDGES, Direction, Whitened, gram


def embeddings(images: int = 40, queries: int = 5, width: int = 19, seed: int = 0) -> torch.Tensor:
    """Vectors whose axes have unlike variances, away from the origin."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=generator) * torch.linspace(0.1, 3, width)
    return (
        torch.randn(images, queries, width, generator=generator) + torch.randn(images, 1, width, generator=generator)
    ) @ mix + 1


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """To the bit, nan where nan is."""
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(7), b.nan_to_num(7))


def axes_of(views: torch.Tensor) -> Axes:
    return Axes.of(views[:, 0].numpy())


def slow_axes(views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clean = [v for v in views[:, 0].astype(float) if np.isfinite(v).all() and v.any()]
    mean = np.sum(clean, axis=0) / len(clean)
    covariance = sum(np.outer(v - mean, v - mean) for v in clean) / (len(clean) - 1)
    variances, axes = np.linalg.eigh(covariance)
    return np.asarray(mean), variances, axes


def slow(views: np.ndarray, p: float, ridge: float) -> np.ndarray:
    """Every number of every image by its definition."""
    mean, variance, directions = slow_axes(views)
    found = np.full((*views.shape[:2], 3), np.nan)

    def log_norm(w: np.ndarray) -> float:
        return math.log(np.abs(w).max() if math.isinf(p) else np.mean(np.abs(w) ** p) ** (1 / p))

    for i, image in enumerate(views.astype(float)):
        so_far: list[np.ndarray] = []
        for q, view in enumerate(image):
            if np.isfinite(view).all() and view.any():
                w = directions.T @ (view - mean) / np.sqrt(np.maximum(variance, 0) + ridge * variance.mean())
                so_far.append(w)
                found[i, q, 0] = log_norm(w)
            if so_far:
                found[i, q, 1] = log_norm(np.mean(so_far, axis=0))
            pairs = [(a, b) for n, a in enumerate(so_far) for b in so_far[:n]]
            if pairs:
                cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]
                found[i, q, 2] = np.mean([math.log(1 - c + EPS) for c in cosines])
    return found


@pytest.mark.parametrize("p", [2.0, 1.0, 0.5, 3.0, math.inf])
def test_every_number_by_loops(p: float) -> None:
    views = embeddings(12, 5, 7)
    views[3, 2], views[4, 0], views[5, 1:], views[6] = 0, torch.nan, torch.inf, 0
    found = Whitened(p)(views).numpy()
    assert found.dtype == np.float32 and found.shape == (12, 5, 3, 3)
    for r, ridge in enumerate(RIDGES):
        np.testing.assert_allclose(found[:, :, r], slow(views.numpy(), p, ridge), atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_an_unusable_view_is_left_out_and_moves_no_other_image(bad: float) -> None:
    views = embeddings()
    axes, spoilt = axes_of(views), views.clone()
    spoilt[7, 1] = bad
    before, after = Whitened()(views, axes), Whitened()(spoilt, axes)
    others = torch.arange(40) != 7
    assert same(before[others], after[others])
    without = Whitened()(views[7:8, [0, 2, 3, 4]], axes)
    assert after[7, 1, :, 0].isnan().all()
    assert same(after[7, [0, 2, 3, 4], :, 0], without[0, :, :, 0])
    torch.testing.assert_close(after[7, 4, :, 1:], without[0, 3, :, 1:])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 39), st.integers(2, 70), st.integers(1, 18), st.integers(0, 9))
def test_bits_do_not_depend_on_the_batch(batch: int, start: int, width: int, queries: int, seed: int) -> None:
    views, part = embeddings(queries=queries, width=width, seed=seed), slice(start, start + batch)
    axes = axes_of(views)
    for statistic in (Whitened(), Whitened(1.0), Direction()):
        whole = statistic(views, axes)[part]
        for alone in (views[part], views[part].clone()):
            assert same(whole, statistic(alone, axes))


@pytest.mark.parametrize("queries", [1, 2, 3, 4, 8])
def test_a_prefix_is_what_fewer_views_give_to_the_bit(queries: int) -> None:
    views = embeddings(queries=10, width=33)
    axes = axes_of(views)
    for statistic in (Whitened(), Whitened(3.0)):
        few, many = statistic(views[:, :queries], axes).numpy(), statistic(views, axes).numpy()
        np.testing.assert_array_equal(statistic.prefix(many, queries), few)
    of = Direction()
    np.testing.assert_array_equal(
        of.prefix(of(views, axes).numpy(), queries), of.prefix(of(views[:, :queries], axes).numpy(), queries)
    )


def test_a_rotated_and_moved_encoder_says_the_same() -> None:
    views = embeddings(width=6).double()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)).double())[0]
    torch.testing.assert_close(
        Whitened()(views), Whitened()(3 * views @ turn + 5), atol=1e-5, rtol=1e-5, equal_nan=True
    )


def test_a_direction_is_the_mean_of_the_views_unit_vectors() -> None:
    views = embeddings(10, 6, 5)
    views[2, 1], views[3] = 0, torch.nan
    mean, variance, directions = slow_axes(views.numpy())
    found = Direction()(views).numpy()
    assert found.shape == (10, 3, 5)
    for t, count in enumerate((1, 2, 4)):
        for i, image in enumerate(views[:, :count].numpy().astype(float)):
            total = np.zeros(5)
            for view in image:
                if np.isfinite(view).all() and view.any():
                    w = directions.T @ (view - mean) / np.sqrt(variance + 0.3 * variance.mean())
                    total += w / np.linalg.norm(w)
            # Each axis has a sign of its own, the same for all images.
            expected = total / np.linalg.norm(total) if total.any() else total
            sign = np.sign(directions.T @ axes_of(views).directions.numpy()).diagonal()
            np.testing.assert_allclose(found[i, t], expected * sign, atol=1e-5)


def test_axes_are_kept_as_an_array() -> None:
    axes = axes_of(embeddings())
    again = Axes.from_array(axes.array)
    assert axes.array.shape == (21, 19)
    for name in ("mean", "variance", "directions"):
        assert torch.equal(getattr(axes, name), getattr(again, name))


def test_moments_of_many_images_are_added_up_in_blocks() -> None:
    clean = np.random.default_rng(0).normal(3, 1, (10_000, 4)).astype(np.float32)
    axes = Axes.of(clean)
    np.testing.assert_allclose(axes.mean.numpy(), clean.astype(float).mean(axis=0))
    covariance = (axes.directions * axes.variance) @ axes.directions.T
    np.testing.assert_allclose(covariance.numpy(), np.cov(clean.astype(float).T))


def test_more_axes_than_images_and_axes_without_variance_are_finite() -> None:
    views = embeddings(5, 3, 40)
    assert Whitened()(views)[:, 1:].isfinite().all()
    views[..., 7] = 1.5
    coordinates = axes_of(views).coordinates(views) * axes_of(views).scale(0.03)
    assert Whitened()(views)[:, 1:].isfinite().all() and coordinates.isfinite().all()


@pytest.mark.slow
@pytest.mark.parallel
def test_the_widest_encoders_are_whitened_by_the_same_definition() -> None:
    views = embeddings(12, 2, 2_048)
    found = Whitened()(views, axes_of(views)).numpy()
    for r, ridge in enumerate(RIDGES):
        np.testing.assert_allclose(found[:, :, r], slow(views.numpy(), 2.0, ridge), atol=1e-5, rtol=1e-5)


def test_an_encoder_that_answers_one_vector_alone_has_no_whitened_norm_and_no_angle_to_tell() -> None:
    found = Whitened()(torch.ones(6, 3, 4)).numpy()
    assert np.isneginf(found[..., :2]).all()
    np.testing.assert_allclose(found[:, 1:, :, 2], math.log(1 + EPS), atol=1e-9)
    assert not Direction()(torch.ones(6, 3, 4)).any()


def test_no_usable_view_at_all_leaves_nothing() -> None:
    found = Whitened()(torch.full((4, 3, 5), torch.nan))
    assert found.isnan().all()


def test_products_are_those_of_every_pair() -> None:
    views = embeddings(11, 18, 13).double()
    torch.testing.assert_close(gram(views), torch.einsum("bqd,brd->bqr", views, views))


def test_the_axes_come_of_the_clean_view_alone() -> None:
    query = Query(Views(), 5, 3)
    assert PrincipalAxes().query(query, 8) == Query(Views(), 1, 3)
    views = embeddings()
    changed = views.clone()
    changed[:, 1:] *= 3
    assert same(Whitened()(views)[:, 0], Whitened()(changed)[:, 0])


@pytest.mark.parametrize("ridges", [(), (0.0,), (-1.0,), (math.inf,)])
def test_a_ridge_must_be_a_positive_number(ridges: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="ridges must hold at least one number > 0"):
        Whitened(ridges=ridges)

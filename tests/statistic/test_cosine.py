"""Cosine against loops, at the edges of the number range, and for what it promises about batches and budgets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine

from lpla.contracts.inputs import UndefinedError
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import sum_in_fixed_order

STATISTIC = Cosine()


def embeddings(images: int = 40, queries: int = 5, width: int = 19, seed: int = 0) -> torch.Tensor:
    return torch.randn(images, queries, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-40, 1e300, 1e-300])
def test_every_pair_of_views_by_loops(scale: float) -> None:
    views = embeddings(3).double() * scale
    views = views.float() if 1e-41 < scale < 1e31 else views
    rescaled = (views / views.abs().max()).double().numpy()
    expected = [[1 - cosine(image[i], image[j]) for j in range(5) for i in range(j)] for image in rescaled]
    got = STATISTIC(views)
    assert got.dtype == torch.float32 and got.shape == (3, 10)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


def test_parallel_opposite_and_orthogonal_views() -> None:
    views = torch.tensor([[[3.0, 4.0], [6.0, 8.0], [-4.0, 3.0], [-3.0, -4.0]]])
    assert STATISTIC(views).tolist() == [[1.0, 0.0, 0.0, -1.0, -1.0, 0.0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 39), st.integers(1, 70), st.integers(0, 9))
def test_bits_do_not_depend_on_the_batch(batch: int, start: int, width: int, seed: int) -> None:
    views, part = embeddings(width=width, seed=seed), slice(start, start + batch)
    assert torch.equal(STATISTIC(views)[part], STATISTIC(views[part]))
    assert torch.equal(STATISTIC(views)[part], STATISTIC(views[part].clone()))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(0, 9))
def test_the_sum_in_fixed_order_is_the_sum(width: int, seed: int) -> None:
    x = embeddings(4, 2, width, seed).double()
    np.testing.assert_allclose(sum_in_fixed_order(x).numpy(), x.numpy().sum(axis=-1), atol=1e-12)


@pytest.mark.parametrize("queries", [2, 3, 5])
def test_a_prefix_is_what_fewer_views_give(queries: int) -> None:
    views = embeddings()
    few = STATISTIC(views[:, :queries]).numpy()
    np.testing.assert_array_equal(STATISTIC.prefix(STATISTIC(views).numpy(), queries), few)


def test_one_view_has_no_pair() -> None:
    assert STATISTIC(embeddings(queries=1)).shape == (40, 0)
    with pytest.raises(UndefinedError, match=r"^pairwise cosines need queries >= 2, got 1$"):
        STATISTIC.prefix(STATISTIC(embeddings()).numpy(), 1)


def test_the_length_of_a_view_changes_nothing() -> None:
    views = embeddings()
    longer = views * torch.tensor([1.0, 2.0, 0.5, 1024.0, 2**-30])[:, None]
    assert torch.equal(STATISTIC(longer), STATISTIC(views))


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_an_unusable_view_spoils_its_own_pairs_alone(bad: float) -> None:
    views = embeddings()
    clean = STATISTIC(views)
    views[7, 1] = bad
    got = STATISTIC(views)
    spoilt = torch.zeros(40, 10, dtype=torch.bool)
    # pairs with view 1, in the order 01 02 12 03 13 23 04 14 24 34
    spoilt[7, [0, 2, 4, 7]] = True
    assert torch.equal(got.isnan(), spoilt)
    assert torch.equal(got[~spoilt], clean[~spoilt])

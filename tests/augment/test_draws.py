"""The counters against pure-Python splitmix64, and the numbers against uniformity and independence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from lpla.data.augment.draws import uniforms

WORD = 1 << 64
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


def finalise(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def oracle(*counters: int) -> float:
    """The same in Python's integers: absorb (seed, stream, view, parameter) one after the other."""
    state = 0
    for counter in counters:
        state = finalise(((counter % WORD ^ state) + 0x9E3779B97F4A7C15) % WORD)
    return (state >> 40) / (1 << 24)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """In standard errors of the correlation of independent numbers."""
    return abs(float(np.corrcoef(a.flatten(), b.flatten())[0, 1])) * a.numel() ** 0.5


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, WORD - 1), stream=INT64, view=INT64)
def test_equals_python_integers(seed: int, stream: int, view: int) -> None:
    drawn = uniforms(seed, torch.tensor([stream]), torch.tensor([view]), 5)
    assert drawn[0].tolist() == [oracle(seed, stream, view, parameter) for parameter in range(5)]


def test_a_view_number_means_the_same_as_a_tensor_of_it() -> None:
    stream = torch.arange(9)
    assert torch.equal(uniforms(3, stream, 7, 4), uniforms(3, stream, torch.full((9,), 7), 4))


def test_more_parameters_leave_the_first_alone() -> None:
    stream = torch.arange(9)
    assert torch.equal(uniforms(3, stream, 7, 40)[:, :4], uniforms(3, stream, 7, 4))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(INT64, INT64), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_batch_and_order_do_not_matter(pairs: list[tuple[int, int]], random) -> None:
    stream, view = torch.tensor(pairs).unbind(1)
    drawn = uniforms(1, stream, view, 6)
    order = list(range(len(pairs)))
    random.shuffle(order)
    assert torch.equal(uniforms(1, stream[order], view[order], 6), drawn[order])
    assert torch.equal(uniforms(1, stream[:1], view[:1], 6), drawn[:1])


def test_every_parameter_is_uniform() -> None:
    drawn = uniforms(2024, torch.arange(20_000), 1, 35)
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert min(kstest(column.numpy(), "uniform").pvalue for column in drawn.unbind(1)) > 0.05 / 35


def test_parameters_are_uncorrelated_with_one_another() -> None:
    matrix = np.corrcoef(uniforms(5, torch.arange(20_000), 1, 35).T)
    assert np.abs(matrix[~np.eye(35, dtype=bool)]).max() * 20_000**0.5 < 4.5


@pytest.mark.parametrize("neighbour", ["stream", "view", "seed", "parameter", "swapped"])
def test_neighbours_are_uncorrelated(neighbour: str) -> None:
    stream, view = torch.arange(20_000), torch.ones(20_000, dtype=torch.int64)
    drawn = uniforms(8, stream, view, 8)
    others = {
        "stream": uniforms(8, stream + 1, view, 8),
        "view": uniforms(8, stream, view + 1, 8),
        "seed": uniforms(9, stream, view, 8),
        "parameter": drawn.roll(1, 1),
        "swapped": uniforms(8, view, stream, 8),
    }
    assert correlation(drawn, others[neighbour]) < 4.5


def test_views_of_one_image_are_uniform() -> None:
    drawn = uniforms(0, torch.zeros(20_000, dtype=torch.int64), torch.arange(20_000), 2)
    assert min(kstest(column.numpy(), "uniform").pvalue for column in drawn.unbind(1)) > 0.01

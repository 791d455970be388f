"""LogNorm against mpmath, at the edges of the number range, and for what it promises about batches."""

import math

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lpla.contracts.inputs import InputError
from lpla.extraction.statistic.log_norm import LogNorm, count_unusable

PS = (0.5, 1.0, 2.0, 3.0, 3.7, 7.0, 50.0, math.inf)


def slow_log_norm(vector: list[float], p: float) -> float:
    with mpmath.workdps(60):
        magnitudes = [abs(mpmath.mpf(x)) for x in vector]
        if max(magnitudes) == 0:
            return -math.inf
        if math.isinf(p):
            return float(mpmath.log(max(magnitudes)))
        return float(mpmath.log(mpmath.fsum(x**p for x in magnitudes) / len(vector)) / p)


def vectors(seed: int, dtype: torch.dtype, scale: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 2, 37, generator=generator, dtype=torch.float64).mul(scale).to(dtype)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1.0),
        (torch.float32, 1e30),
        (torch.float32, 1e-40),
        (torch.float64, 1e300),
        (torch.float64, 1e-300),
        (torch.bfloat16, 1.0),
    ],
)
def test_agrees_with_mpmath(dtype: torch.dtype, scale: float) -> None:
    embeddings = vectors(0, dtype, scale)
    embeddings[0, 1] = 0
    embeddings[1, 0, ::2] = 0
    expected = [[[slow_log_norm(view, p) for p in PS] for view in image] for image in embeddings.double().tolist()]
    got = LogNorm(PS)(embeddings)
    assert got.dtype == torch.float64 and got.shape == (3, 2, len(PS))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-14, atol=5e-14)


def test_magnitudes_far_apart_in_one_vector() -> None:
    view = [1e300, -1e-300, 0.0, 1.0, 1e299]
    got = LogNorm(PS)(torch.tensor([[view]], dtype=torch.float64))[0, 0]
    np.testing.assert_allclose(got.numpy(), [slow_log_norm(view, p) for p in PS], rtol=1e-14)


def test_zero_gives_minus_inf_and_nonfinite_gives_nan_beside_untouched_neighbours() -> None:
    embeddings = vectors(1, torch.float32, 1.0)
    clean = LogNorm(PS)(embeddings)
    embeddings[0, 0] = 0
    embeddings[1, 0, 3] = torch.inf
    embeddings[1, 1, 3] = -torch.inf
    embeddings[2, 1, 5] = torch.nan
    got = LogNorm(PS)(embeddings)
    assert (got[0, 0] == -torch.inf).all()
    assert got[1].isnan().all() and got[2, 1].isnan().all()
    assert torch.equal(got[0, 1], clean[0, 1]) and torch.equal(got[2, 0], clean[2, 0])
    assert count_unusable(got.numpy()) == (1, 3)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 40),
    queries=st.integers(1, 5),
    width=st.integers(1, 70),
    start=st.integers(0, 39),
    seed=st.integers(0, 9),
)
def test_bits_do_not_depend_on_the_batch(batch: int, queries: int, width: int, start: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(40, 5, width, generator=generator)
    part = slice(start, start + batch)
    statistic = LogNorm(PS)
    assert torch.equal(statistic(embeddings)[part, :queries], statistic(embeddings[part, :queries].contiguous()))
    assert torch.equal(statistic(embeddings)[part, :queries], statistic(embeddings[part, :queries]))


def test_bits_of_one_long_vector_do_not_depend_on_the_batch() -> None:
    embeddings = torch.rand(4, 1, 70_001, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = LogNorm(PS)(embeddings)
    for i in range(4):
        assert torch.equal(whole[i : i + 1], LogNorm(PS)(embeddings[i : i + 1]))


@settings(max_examples=40, deadline=None)
@given(log_scale=st.floats(-60, 60), seed=st.integers(0, 99))
def test_scaling_shifts_by_its_logarithm(log_scale: float, seed: int) -> None:
    embeddings = vectors(seed, torch.float64, 1.0)
    shifted = LogNorm(PS)(embeddings * math.exp(log_scale)) - LogNorm(PS)(embeddings)
    np.testing.assert_allclose(shifted.numpy(), log_scale, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), power=st.floats(1, 30))
def test_power_means_grow_with_p(seed: int, power: float) -> None:
    embeddings = vectors(seed, torch.float64, 1.0) ** int(power)
    assert (LogNorm(PS)(embeddings).diff(dim=-1) >= -1e-12).all()


def test_a_constant_vector_has_the_same_value_for_every_p() -> None:
    np.testing.assert_allclose(LogNorm(PS)(torch.full((1, 1, 9), -3.0)).numpy(), math.log(3), rtol=1e-15)


def test_prefix_is_what_fewer_views_give() -> None:
    embeddings = vectors(2, torch.float32, 1.0)
    statistic = LogNorm((1.0, 2.0))
    np.testing.assert_array_equal(
        statistic.prefix(statistic(embeddings).numpy(), 1), statistic(embeddings[:, :1]).numpy()
    )


@pytest.mark.wrong_types
@pytest.mark.parametrize("p", [-1, 0, 0.0, -math.inf, math.nan, "2", "inf", True, None, 1j])
def test_other_p_are_refused(p: object) -> None:
    with pytest.raises(InputError, match=r"p must be a number > 0 or inf, got "):
        LogNorm((2.0, p))  # pyright: ignore[reportArgumentType]


def test_the_message_names_what_was_given() -> None:
    with pytest.raises(InputError, match=r"^p must be a number > 0 or inf, got -1$"):
        LogNorm((-1,))
    with pytest.raises(InputError, match="at least one"):
        LogNorm(())


def test_equal_choices_are_one_artifact() -> None:
    assert LogNorm((1, 2)) == LogNorm((1.0, np.float64(2.0)))
    assert all(type(p) is float for p in LogNorm((1, np.float64(2.0))).ps)

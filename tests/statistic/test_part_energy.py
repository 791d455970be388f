"""Part energies against a slow loop, and for what they promise about batches, scale and useless vectors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import entropy, norm

from lpla.contracts.evidence import Query
from lpla.contracts.inputs import InputError, Views
from lpla.extraction.statistic.part_energy import PartEnergy

POSITIONS, PARTS, WIDTH = 4, 6, 11
STATISTIC = PartEnergy(PARTS, 3)


def embeddings(images: int = 30, positions: int = POSITIONS, seed: int = 0) -> torch.Tensor:
    return torch.randn(images, positions + PARTS, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("positions", [2, 4, 9])
def test_every_part_by_loops(positions: int) -> None:
    made = embeddings(5, positions)
    got = STATISTIC(made)
    assert got.dtype == torch.float32 and got.shape == (5, 2 * PARTS)
    density = norm.pdf(sorted(np.random.default_rng(3).standard_normal(positions)))
    for row, image in zip(got.numpy(), made.double().numpy(), strict=True):
        softmaxes = [softmax([part @ position for position in image[:positions]]) for part in image[positions:]]
        uniform = sorted(entropy(np.ones(positions), q) for q in softmaxes)
        gaussian = sorted(entropy(density, q) for q in softmaxes)
        np.testing.assert_allclose(row, [*uniform, *gaussian], rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(0, 29), st.integers(2, 20), st.integers(0, 9))
def test_bits_do_not_depend_on_the_batch(batch: int, start: int, positions: int, seed: int) -> None:
    made, part = embeddings(positions=positions, seed=seed), slice(start, start + batch)
    assert torch.equal(STATISTIC(made)[part], STATISTIC(made[part]))
    assert torch.equal(STATISTIC(made)[part], STATISTIC(made[part].clone()))


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(PARTS)), st.integers(0, 9))
def test_the_order_of_the_parts_does_not_matter(order: list[int], seed: int) -> None:
    made = embeddings(seed=seed)
    shuffled = torch.cat([made[:, :POSITIONS], made[:, POSITIONS:][:, order]], dim=1)
    assert torch.equal(STATISTIC(shuffled), STATISTIC(made))


def test_the_order_of_the_positions_matters_to_the_gaussian_alone() -> None:
    made = embeddings()
    turned = STATISTIC(torch.cat([made[:, :POSITIONS].flip(1), made[:, POSITIONS:]], dim=1))
    np.testing.assert_allclose(turned[:, :PARTS].numpy(), STATISTIC(made)[:, :PARTS].numpy(), rtol=1e-5)
    assert (turned[:, PARTS:] - STATISTIC(made)[:, PARTS:]).abs().max() > 0.1


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.floats(0, 100))
def test_energies_are_divergences(seed: int, scale: float) -> None:
    energies = STATISTIC(embeddings(seed=seed) * scale)
    assert (energies >= -1e-6).all() and (energies.unflatten(1, (2, PARTS)).diff(dim=2) >= 0).all()


def test_parts_that_agree_with_every_position_alike_have_no_uniform_energy() -> None:
    made = embeddings()
    made[:, POSITIONS:] = 0
    np.testing.assert_allclose(STATISTIC(made)[:, :PARTS].numpy(), 0, atol=1e-7)


def test_a_part_that_is_not_finite_has_no_energy_beside_untouched_neighbours() -> None:
    made = embeddings()
    clean = STATISTIC(made)
    made[7, POSITIONS, 2] = torch.nan
    made[8, 0] = torch.inf
    got = STATISTIC(made)
    assert got[7].isnan().nonzero().ravel().tolist() == [PARTS - 1, 2 * PARTS - 1]
    assert got[8].isnan().all()
    others = torch.arange(30)[(torch.arange(30) - 7.5).abs() > 1]
    assert torch.equal(got[others], clean[others])


@pytest.mark.parametrize(("side", "size"), [(8, 4), (32, 16), (64, 16), (96, 24)])
def test_it_asks_for_small_crops_and_positions_whatever_the_audit_asks(side: int, size: int) -> None:
    query = STATISTIC.query(Query(Views(jitter=0.5), 3, 11), side)
    views = Views(crop_scale=(0.08, 0.2), crop_ratio=(3 / 4, 4 / 3), flip=0.5, size=size)
    assert query == Query(views, PARTS + 1, 11, positions=True)
    values = np.zeros((2, 2 * PARTS))
    assert STATISTIC.prefix(values, 1) is values


@pytest.mark.wrong_types
@pytest.mark.parametrize("parts", [0, -1, 1.5, True])
def test_other_numbers_of_parts_are_refused(parts: object) -> None:
    with pytest.raises(InputError, match=r"^attack.parts must be an integer >= 1, got "):
        PartEnergy(parts, 0)  # pyright: ignore[reportArgumentType]

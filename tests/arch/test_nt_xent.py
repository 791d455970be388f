"""NT-Xent and its queue against Lightly's, bit by bit."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import NTXentLoss
from lightly.models.modules import NNMemoryBankModule
from torch import Tensor

from lpla.encoders.arch._bank import Neighbours, Queue
from lpla.encoders.arch._contrastive import NTXent


def embeddings(batch: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]


def same_gradient(ours: Tensor, theirs: Tensor) -> bool:
    assert ours.grad is not None and theirs.grad is not None
    return torch.equal(ours.grad, theirs.grad)


def by_the_formula(views: list[Tensor], temperature: float) -> Tensor:
    """Equation 1 of the paper, term by term."""
    z = [row / row.norm() for view in views for row in view]
    count, total = len(views[0]), torch.zeros((), dtype=torch.float64)
    for i, anchor in enumerate(z):
        like = [anchor @ other / temperature for other in z]
        total += torch.stack([s for j, s in enumerate(like) if j != i]).logsumexp(0) - like[(i + count) % len(z)]
    return total / len(z)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 9), width=st.integers(1, 6), temperature=st.floats(0.05, 5), seed=st.integers(0, 999))
def test_value_and_gradient_are_lightlys_and_the_formulas(batch, width, temperature, seed) -> None:
    ours, theirs, slow = (embeddings(batch, width, seed) for _ in range(3))
    got, expected = NTXent(temperature)(*ours), NTXentLoss(temperature)(*theirs)
    literal = by_the_formula(slow, temperature)
    for loss in (got, expected, literal):
        loss.backward()
    assert torch.equal(got, expected)
    torch.testing.assert_close(got, literal, rtol=0, atol=1e-9)
    for mine, other, third in zip(ours, theirs, slow, strict=True):
        assert same_gradient(mine, other)
        torch.testing.assert_close(mine.grad, third.grad, rtol=0, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(1, 12), batches=st.lists(st.integers(1, 15), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_a_queue_is_lightlys(size, batches, seed) -> None:
    ours = NTXent(0.2, Queue(size, 4)).double()
    theirs = NTXentLoss(0.2, memory_bank_size=(size, 4)).double()
    theirs.memory_bank.bank.copy_(ours.get_buffer("memory_bank.bank"))
    for step, batch in enumerate(batches):
        mine, other = embeddings(batch, 4, seed + step), embeddings(batch, 4, seed + step)
        got, expected = ours(mine[0], mine[1].detach()), theirs(other[0], other[1].detach())
        got.backward()
        expected.backward()
        assert torch.equal(got, expected)
        assert same_gradient(mine[0], other[0])
        assert torch.equal(ours.get_buffer("memory_bank.bank"), theirs.memory_bank.bank)
        assert torch.equal(ours.get_buffer("memory_bank.bank_ptr"), theirs.memory_bank.bank_ptr)
    assert set(ours.state_dict()) == {"memory_bank.bank", "memory_bank.bank_ptr"}


def test_neighbours_are_lightlys() -> None:
    ours, theirs = Neighbours(9, 4), NNMemoryBankModule((9, 4))
    theirs.bank.copy_(ours.bank)
    for step in range(4):
        for update, z in zip((False, True), embeddings(5, 4, step, torch.float32), strict=True):
            assert torch.equal(ours(z.detach(), update=update), theirs(z.detach(), update=update))
    assert torch.equal(ours.bank, theirs.bank)

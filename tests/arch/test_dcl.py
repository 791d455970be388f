"""DCL against Lightly's and against its equation."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightly.loss import DCLLoss, NTXentLoss
from torch import Tensor

from lpla.encoders.arch._contrastive import DCL


def by_the_formula(views: list[Tensor], temperature: float) -> Tensor:
    """Equation 6 of the paper, term by term: no view of an image is among its negatives."""
    count, total = len(views[0]), torch.zeros((), dtype=torch.float64)
    z = [[row / row.norm() for row in view] for view in views]
    for k in range(2):
        for i in range(count):
            negatives = [z[k][i] @ z[v][j] / temperature for v in range(2) for j in range(count) if j != i]
            total += torch.stack(negatives).logsumexp(0) - z[k][i] @ z[1 - k][i] / temperature
    return total / (2 * count)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(2, 9), width=st.integers(1, 6), temperature=st.floats(0.05, 5), seed=st.integers(0, 999))
def test_value_and_gradient_are_lightlys_and_the_formulas(batch, width, temperature, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(2, batch, width, generator=generator, dtype=torch.float64)
    found = []
    for loss in (DCL(temperature), DCLLoss(temperature), lambda a, b: by_the_formula([a, b], temperature)):
        views = made.clone().requires_grad_()
        value = loss(*views)
        value.backward()
        found.append((value.detach(), views.grad))
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=0, atol=1e-8)


def test_the_positive_is_what_sets_it_apart_from_nt_xent() -> None:
    views = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    assert DCL(0.5)(*views) < NTXentLoss(0.5)(*views)

"""The release of norms alone: what is left of an embedding, and which attacks live on."""

from collections.abc import Callable

import pytest
import torch
from tiny_audit import TINY

import lpla
from lpla.auditing.plan import Plan
from lpla.contracts.defense import Asked
from lpla.contracts.inputs import InputError
from lpla.encoders.defense.norms_only import NormsOnly
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import LogNorm

ASKED = Asked("backbone", torch.arange(1), torch.zeros(1, dtype=torch.long), 0, {})
"""Nothing that a norm depends on."""


@pytest.mark.parametrize("p", [0.5, 1, 2, float("inf")])
def test_a_released_norm_has_the_log_norm_of_its_order_up_to_a_constant(p: float) -> None:
    embedding = torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    released = NormsOnly(p=p).release(embedding, ASKED)
    assert released.shape == (40, 1)
    before, after = LogNorm((p,))(embedding[:, None]), LogNorm((p,))(released[:, None])
    # The statistic is of the mean power, not of the sum.
    torch.testing.assert_close(after - before, torch.full_like(before, float(torch.tensor(7.0).log()) / p))
    other = LogNorm((1.0, 3.0))(released[:, None])
    torch.testing.assert_close(other[..., 0], other[..., 1])


def test_all_directions_are_one() -> None:
    views = NormsOnly().release(torch.randn(60, 5), ASKED).view(12, 5, 1)
    assert (Cosine()(views) == 1).all()


def test_what_is_unusable_stays_so() -> None:
    embedding = torch.tensor([[0.0, 0.0], [torch.nan, 1.0], [torch.inf, 1.0], [3.0, 4.0]])
    released = NormsOnly().release(embedding, ASKED)[:, 0]
    assert released[0] == 0 and not released[1:3].isfinite().any() and released[3] == 5
    with pytest.raises(InputError, match=r"defense.p must be a number > 0 or inf, got 0"):
        NormsOnly(p=0)


def test_the_encoder_is_that_of_no_defence(tiny: Callable[..., Plan]) -> None:
    plain, released = (tiny(f"defense={one}").units[1] for one in ("none", "norms_only"))
    assert plain.encoder_parts == released.encoder_parts
    parts = [one.statistic_parts(one.observations[0], one.observations[0].statistics[0]) for one in (plain, released)]
    assert parts[0] != parts[1]


def test_norms_live_on_and_angles_say_nothing(tiny_store: str) -> None:
    def rows(defense: str, attack: str) -> list:
        return list(lpla.audit(*TINY, tiny_store, f"defense={defense}", f"attack={attack}"))

    for before, after in zip(rows("none", "lpla"), rows("norms_only", "lpla"), strict=True):
        assert after.auc == pytest.approx(before.auc, abs=0.01)
    for attack in ("encodermi_t", "log_angle"):
        for row in rows("norms_only", attack):
            assert row.auc == 0.5 and row.verdict.startswith("undecided")

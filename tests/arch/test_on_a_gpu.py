"""What a GPU needs of every framework's step, tried without one: it asks for no number, and it bears bfloat16.

A number asked of torch's meta device, which has shapes but no values, is an error.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightly.loss import DCLLoss, NTXentLoss
from slow_step import CONF, build

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import Views
from lpla.data.augment.apply import augment

ARCHS = sorted(file.stem for file in (Path(CONF) / "arch").glob("*.yaml"))
EVERYTHING = Views((0.2, 1.0), (3 / 4, 4 / 3), 0.5, 0.8, 0.4, 0.4, 0.4, 0.1, 0.2, 0.5)


def small(name: str) -> Arch:
    return build(name, *(() if name == "mae" else ("backbone.width=0.125",)))


@pytest.mark.parametrize("name", ARCHS)
def test_a_frameworks_step_asks_for_no_number(name: str) -> None:
    arch = small(name).to("meta")
    views = arch.views(Views())
    arch.loss([torch.empty(4, 3, 8, 8, device="meta") for _ in views], progress=0.5).backward()
    assert any(parameter.grad is not None for parameter in arch.parameters())


@pytest.mark.parametrize("name", ARCHS)
def test_a_frameworks_step_bears_bfloat16(name: str) -> None:
    losses = []
    for enabled in (False, True):
        arch = small(name)
        generator = torch.Generator().manual_seed(0)
        views = [torch.rand(16, 3, 8, 8, generator=generator) for _ in arch.views(Views())]
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = arch.loss(views, progress=0.5)
        loss.backward()
        assert all(p.grad.isfinite().all() and p.grad.dtype == p.dtype for p in arch.parameters() if p.grad is not None)
        losses.append(loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.1, abs=0.01)


def test_the_views_ask_for_no_number() -> None:
    pixels = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="meta")
    stream = torch.empty(4, dtype=torch.int64, device="meta")
    assert augment(pixels, EVERYTHING, 7, stream, 1).shape == (4, 3, 32, 32)


@pytest.mark.parametrize("criterion", [NTXentLoss(), NTXentLoss(memory_bank_size=(7, 4)), DCLLoss()])
def test_lightlys_own_losses_would_be_found_asking(criterion: torch.nn.Module) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        criterion.to("meta")(*torch.empty(2, 4, 4, device="meta", requires_grad=True).unbind())

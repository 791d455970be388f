"""No step asks the device for a number: on torch's meta device, which has shapes but no values, that is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightly.loss import DCLLoss, NTXentLoss
from slow_step import CONF, build

from lpla.augment.apply import augment
from lpla.contracts import Views

ARCHS = sorted(file.stem for file in (Path(CONF) / "arch").glob("*.yaml"))
EVERYTHING = Views((0.2, 1.0), (3 / 4, 4 / 3), 0.5, 0.8, 0.4, 0.4, 0.4, 0.1, 0.2, 0.5)


@pytest.mark.parametrize("name", ARCHS)
def test_a_frameworks_loss_and_gradient(name: str) -> None:
    narrow = ["backbone=vit_micro"] if name == "mae" else ["backbone=resnet9", "backbone.width=0.125"]
    arch = build(name, *narrow).to("meta")
    views = arch.views(Views())
    arch.loss([torch.empty(4, 3, 8, 8, device="meta") for _ in views], progress=0.5).backward()
    assert any(parameter.grad is not None for parameter in arch.parameters())


def test_the_views() -> None:
    pixels = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="meta")
    stream = torch.empty(4, dtype=torch.int64, device="meta")
    assert augment(pixels, EVERYTHING, 7, stream, 1).shape == (4, 3, 32, 32)


@pytest.mark.parametrize("criterion", [NTXentLoss(), NTXentLoss(memory_bank_size=(7, 4)), DCLLoss()])
def test_lightlys_own_losses_would_be_found_waiting(criterion: torch.nn.Module) -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        criterion.to("meta")(*torch.empty(2, 4, 4, device="meta", requires_grad=True).unbind())

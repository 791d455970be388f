"""VICReg against Lightly's example (examples/pytorch/vicreg.py)."""

from copy import deepcopy

import pytest
import torch
from lightly.loss import VICRegLoss
from lightly.loss import vicreg_loss as lightlys
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.encoders.arch.vicreg import VICReg, covariance_loss


class LightlysVICReg(nn.Module):
    def __init__(self, plain: VICReg) -> None:
        super().__init__()
        self.backbone = deepcopy(plain.backbone)
        self.projection_head = deepcopy(plain.projector)
        self.criterion = VICRegLoss()

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x))


@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_example(batch_norm: str) -> None:
    plain = narrow("vicreg")
    assert isinstance(plain, VICReg)
    model = LightlysVICReg(plain)

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        z0, z1 = MODES[batch_norm](model, x0, x1)
        return model.criterion(z0, z1)

    compare(narrow("vicreg", f"arch.batch_norm={batch_norm}"), model, loss, progress=0.1)


@pytest.mark.parametrize(("batch", "width"), [(2, 1), (5, 3), (64, 512)])
def test_the_covariance_term_is_lightlys_bit_by_bit(batch: int, width: int) -> None:
    ours = torch.randn(batch, width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    got, expected = covariance_loss(ours), lightlys.covariance_loss(theirs)
    assert torch.equal(got, expected)
    got.backward()
    expected.backward()
    assert ours.grad is not None and theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)

"""VICReg against Lightly's example (examples/pytorch/vicreg.py)."""

from copy import deepcopy

import pytest
from lightly.loss import VICRegLoss
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.arch.vicreg import VICReg


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

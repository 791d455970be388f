"""SimCLR against Lightly's example (examples/pytorch/simclr.py)."""

from copy import deepcopy

import pytest
from lightly.loss import DCLLoss, NTXentLoss
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.encoders.arch.simclr import SimCLR


class LightlysSimCLR(nn.Module):
    def __init__(self, plain: SimCLR, criterion: nn.Module) -> None:
        super().__init__()
        self.backbone = deepcopy(plain.backbone)
        self.projection_head = deepcopy(plain.projector)
        self.criterion = criterion

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x))


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_example(batch_norm: str, decoupled: bool) -> None:
    plain = narrow("simclr")
    assert isinstance(plain, SimCLR)
    model = LightlysSimCLR(plain, DCLLoss(temperature=0.5) if decoupled else NTXentLoss(temperature=0.5))

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        z0, z1 = MODES[batch_norm](model, x0, x1)
        return model.criterion(z0, z1)

    ours = narrow("simclr", f"arch.batch_norm={batch_norm}", f"arch.decoupled={decoupled}")
    compare(ours, model, loss, progress=0.1)

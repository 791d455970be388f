"""MoCo against Lightly's CIFAR-10 benchmark (symmetric) and its example examples/pytorch/moco.py (not)."""

from copy import deepcopy

import pytest
from lightly.loss import NTXentLoss
from lightly.models.utils import deactivate_requires_grad, update_momentum
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.encoders.arch.moco import MoCo

MOMENTUM = 0.7  # Quick enough to tell the slow copies from both their start and the trained networks.


class LightlysMoCo(nn.Module):
    def __init__(self, plain: MoCo, queue_size: int) -> None:
        super().__init__()
        self.backbone = deepcopy(plain.backbone)
        self.projection_head = deepcopy(plain.projector)
        self.backbone_momentum = deepcopy(self.backbone)
        self.projection_head_momentum = deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NTXentLoss(temperature=0.1, memory_bank_size=(queue_size, 12)).double()
        self.criterion.memory_bank.bank.copy_(plain.criterion.get_buffer("memory_bank.bank"))

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x))

    def forward_momentum(self, x: Tensor) -> Tensor:
        return self.projection_head_momentum(self.backbone_momentum(x)).detach()

    def update_momentum(self) -> None:
        update_momentum(self.backbone, self.backbone_momentum, m=MOMENTUM)
        update_momentum(self.projection_head, self.projection_head_momentum, m=MOMENTUM)


def pair(queue_size: int, *overrides: str) -> tuple[MoCo, LightlysMoCo]:
    settings = [f"arch.queue_size={queue_size}", f"arch.momentum={MOMENTUM}", f"arch.final_momentum={MOMENTUM}"]
    ours, plain = narrow("moco", *settings, *overrides), narrow("moco", *settings)
    assert isinstance(ours, MoCo) and isinstance(plain, MoCo)
    return ours, LightlysMoCo(plain, queue_size)


# 40: the last of the three steps (16 keys each) wraps round; 5: less than a batch of keys.
@pytest.mark.parametrize("queue_size", [40, 5])
@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_benchmark(batch_norm: str, queue_size: int) -> None:
    ours, model = pair(queue_size, f"arch.batch_norm={batch_norm}")
    forward = MODES[batch_norm]

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        model.update_momentum()
        q0, q1 = forward(model, x0, x1)
        k0, k1 = forward(model.forward_momentum, x0, x1)
        first = model.criterion(q0, k1)
        return 0.5 * (first + model.criterion(q1, k0))

    compare(ours, model, loss, progress=0.1)


@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_example(batch_norm: str) -> None:
    ours, model = pair(20, f"arch.batch_norm={batch_norm}", "arch.symmetric=false")

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        model.update_momentum()
        return model.criterion(model(x0), model.forward_momentum(x1))

    compare(ours, model, loss, progress=0.1)

"""BYOL against Lightly's example (examples/pytorch/byol.py), with the momentum schedule of its later versions."""

from copy import deepcopy

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.encoders.arch._momentum import cosine_momentum
from lpla.encoders.arch.byol import BYOL

# Quick enough that three steps tell the slow copies from both their start and the trained networks.
MOMENTUM, FINAL, STEPS = 0.7, 1.0, 11


class LightlysBYOL(nn.Module):
    def __init__(self, plain: BYOL) -> None:
        super().__init__()
        self.backbone = deepcopy(plain.backbone)
        self.projection_head = deepcopy(plain.projector)
        self.prediction_head = deepcopy(plain.predictor)
        self.backbone_momentum = deepcopy(self.backbone)
        self.projection_head_momentum = deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, x: Tensor) -> Tensor:
        return self.prediction_head(self.projection_head(self.backbone(x)))

    def forward_momentum(self, x: Tensor) -> Tensor:
        return self.projection_head_momentum(self.backbone_momentum(x)).detach()


@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_example(batch_norm: str) -> None:
    plain = narrow("byol")
    assert isinstance(plain, BYOL)
    model, forward = LightlysBYOL(plain), MODES[batch_norm]

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        momentum = cosine_schedule(step, STEPS, MOMENTUM, FINAL)
        update_momentum(model.backbone, model.backbone_momentum, m=momentum)
        update_momentum(model.projection_head, model.projection_head_momentum, m=momentum)
        p0, p1 = forward(model, x0, x1)
        z0, z1 = forward(model.forward_momentum, x0, x1)
        return 0.5 * (model.criterion(p0, z1) + model.criterion(p1, z0))

    settings = (f"arch.batch_norm={batch_norm}", f"arch.momentum={MOMENTUM}", f"arch.final_momentum={FINAL}")
    compare(narrow("byol", *settings), model, loss, progress=1 / (STEPS - 1))


def test_the_momentum_follows_lightlys_cosine() -> None:
    got = [cosine_momentum(0.99, 1.0, step / 20) for step in range(20)]
    assert got == pytest.approx([cosine_schedule(step, 21, 0.99, 1.0) for step in range(20)])
    assert cosine_momentum(0.99, 0.99, 0.37) == 0.99


def test_no_gradient_reaches_the_slow_copies() -> None:
    arch = narrow("byol")
    arch.loss((torch.rand(4, 3, 8, 8).double(), torch.rand(4, 3, 8, 8).double()), 0.0).backward()
    slow = {name for name, p in arch.named_parameters() if p.grad is None}
    assert slow == {name for name, _ in arch.named_parameters() if name.startswith("slow_")}

"""Barlow Twins against Lightly's example (examples/pytorch/barlowtwins.py), with its CIFAR-10 benchmark's projector."""

from copy import deepcopy

import pytest
from lightly.loss import BarlowTwinsLoss
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.encoders.arch.barlowtwins import BarlowTwins


class LightlysBarlowTwins(nn.Module):
    def __init__(self, plain: BarlowTwins) -> None:
        super().__init__()
        self.backbone = deepcopy(plain.backbone)
        self.projection_head = deepcopy(plain.projector)
        self.criterion = BarlowTwinsLoss()

    def forward(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x))


@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_example(batch_norm: str) -> None:
    plain = narrow("barlowtwins")
    assert isinstance(plain, BarlowTwins)
    model = LightlysBarlowTwins(plain)

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        z0, z1 = MODES[batch_norm](model, x0, x1)
        return model.criterion(z0, z1)

    compare(narrow("barlowtwins", f"arch.batch_norm={batch_norm}"), model, loss, progress=0.1)


def test_the_projector_is_the_benchmarks() -> None:
    arch = narrow("barlowtwins")
    assert isinstance(arch, BarlowTwins)
    assert [type(layer) for layer in arch.projector.get_submodule("layers").children()] == [
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
        nn.Linear,
    ]

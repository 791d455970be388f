"""SimSiam against Lightly's example (examples/pytorch/simsiam.py), with the projector of its CIFAR-10 benchmark."""

from copy import deepcopy

import pytest
from lightly.loss import NegativeCosineSimilarity
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.encoders.arch.simsiam import SimSiam


class LightlysSimSiam(nn.Module):
    def __init__(self, plain: SimSiam) -> None:
        super().__init__()
        self.backbone = deepcopy(plain.backbone)
        self.projection_head = deepcopy(plain.projector)
        self.prediction_head = deepcopy(plain.predictor)
        self.criterion = NegativeCosineSimilarity()

    def project(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x))


@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_example(batch_norm: str) -> None:
    plain = narrow("simsiam", "arch.prediction_dim=6")
    assert isinstance(plain, SimSiam)
    model, forward = LightlysSimSiam(plain), MODES[batch_norm]

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        z0, z1 = forward(model.project, x0, x1)
        p0, p1 = forward(model.prediction_head, z0, z1)
        return 0.5 * (model.criterion(z0.detach(), p1) + model.criterion(z1.detach(), p0))

    compare(narrow("simsiam", "arch.prediction_dim=6", f"arch.batch_norm={batch_norm}"), model, loss, progress=0.1)


def test_the_projector_is_the_benchmarks() -> None:
    arch = narrow("simsiam")
    assert isinstance(arch, SimSiam)
    kinds = [type(layer) for layer in arch.projector.get_submodule("layers").children()]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]

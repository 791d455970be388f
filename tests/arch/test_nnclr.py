"""NNCLR against Lightly's example (examples/pytorch/nnclr.py), with the projector of its CIFAR-10 benchmark."""

from copy import deepcopy

import pytest
from lightly.loss import NTXentLoss
from lightly.models.modules import NNMemoryBankModule
from step_oracle import MODES, compare, narrow
from torch import Tensor, nn

from lpla.encoders.arch.nnclr import NNCLR


class LightlysNNCLR(nn.Module):
    def __init__(self, plain: NNCLR, queue_size: int) -> None:
        super().__init__()
        self.backbone = deepcopy(plain.backbone)
        self.projection_head = deepcopy(plain.projector)
        self.prediction_head = deepcopy(plain.predictor)
        self.queue = NNMemoryBankModule(size=(queue_size, 12)).double()
        self.queue.bank.copy_(plain.queue.bank)
        self.criterion = NTXentLoss(temperature=0.5)

    def project(self, x: Tensor) -> Tensor:
        return self.projection_head(self.backbone(x))


# 20: the last of the three steps (8 embeddings each) wraps round; 5: less than a batch.
@pytest.mark.parametrize("queue_size", [20, 5])
@pytest.mark.parametrize("batch_norm", MODES)
def test_steps_are_those_of_lightlys_example(batch_norm: str, queue_size: int) -> None:
    settings = ("arch.prediction_dim=20", f"arch.queue_size={queue_size}")
    plain = narrow("nnclr", *settings)
    assert isinstance(plain, NNCLR)
    model, forward = LightlysNNCLR(plain, queue_size), MODES[batch_norm]

    def loss(x0: Tensor, x1: Tensor, step: int) -> Tensor:
        z0, z1 = forward(model.project, x0, x1)
        p0, p1 = forward(model.prediction_head, z0, z1)
        near0 = model.queue(z0.detach(), update=False)
        near1 = model.queue(z1.detach(), update=True)
        return 0.5 * (model.criterion(near0, p1) + model.criterion(near1, p0))

    compare(narrow("nnclr", *settings, f"arch.batch_norm={batch_norm}"), model, loss, progress=0.1)


def test_the_projector_is_the_benchmarks() -> None:
    arch = narrow("nnclr")
    assert isinstance(arch, NNCLR)
    kinds = [type(layer) for layer in arch.projector.get_submodule("layers").children()]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d]

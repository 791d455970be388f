"""DINO's step against Lightly's CIFAR-10 benchmark, with and without local views."""

from copy import deepcopy
from math import cos, pi

import pytest
import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from lightly.models.modules.heads import ProjectionHead
from slow_step import NARROW, apply_slowly, assert_same_step, backbone_of, build, fixed_views, move_slowly
from torch import nn

SIDES = {"global": (16, 16), "small local": (16, 16, 8, 8, 8), "equal local": (16, 16, 16)}
SCHEDULES = ("arch.warmup_teacher_temp=0.02", "arch.warmup=0.5", "arch.final_momentum=1.0", "arch.bottleneck_dim=7")


def lightlys_head(features: int) -> DINOProjectionHead:
    with pytest.warns(FutureWarning, match="weight_norm"):
        head = DINOProjectionHead(features, 24, 7, 12, batch_norm=True)
    # Lightly: "use only 2 layers for cifar10".
    head.layers = ProjectionHead([(features, 24, nn.BatchNorm1d(24), nn.GELU()), (24, 7, None, None)]).layers
    return head.double()


@pytest.mark.parametrize("batch_norm", ["joint", "per_view"])
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_a_step_is_lightlys(batch_norm: str, sides: tuple[int, ...]) -> None:
    ours = build("dino", *NARROW, *SCHEDULES, f"arch.batch_norm={batch_norm}").double()
    views, progress = fixed_views(*sides), 0.2
    with torch.no_grad():
        for slow in ("slow_backbone", "slow_projector"):
            for parameter in ours.get_submodule(slow).parameters():
                parameter.mul_(1.1).add_(0.01)  # otherwise the first move of the teacher shows nothing
        ours.get_buffer("criterion.center").uniform_(-1, 1)
    backbone = backbone_of(ours)
    teacher_backbone = deepcopy(ours.get_submodule("slow_backbone"))
    head, teacher_head = lightlys_head(backbone.features), lightlys_head(backbone.features)
    criterion = DINOLoss(12).double()
    pairs = {"backbone": backbone, "slow_backbone": teacher_backbone, "criterion": criterion}
    pairs |= {"projector": head, "slow_projector": teacher_head}
    for name, module in pairs.items():
        module.load_state_dict(ours.get_submodule(name).state_dict())
    teacher_backbone.requires_grad_(False)
    teacher_head.requires_grad_(False)

    momentum = 1 - (1 - 0.99) * (cos(pi * progress) + 1) / 2
    move_slowly(backbone, teacher_backbone, momentum)
    move_slowly(head, teacher_head, momentum)
    teacher_out = apply_slowly(lambda x: teacher_head(teacher_backbone(x)), views[:2], batch_norm)
    student_out = apply_slowly(lambda x: head(backbone(x)), views, batch_norm)
    warm = 0.02 + (0.04 - 0.02) * 0.2 / 0.5
    expected = criterion(teacher_out, student_out, teacher_temp=warm)
    assert_same_step(ours, views, progress, expected, pairs)


def test_the_loss_is_the_cross_entropy_that_the_paper_writes() -> None:
    ours = build("dino", *NARROW, "arch.batch_norm=per_view").double()
    views = fixed_views(8, 8, 8)
    student = [ours.get_submodule("projector")(ours.get_submodule("backbone")(v)) for v in views]
    terms = []
    for t in range(2):  # the teacher starts as the student, and the centre at zero
        for s in range(3):
            if s != t:
                target = (student[t] / 0.04).softmax(1)
                terms.append(-(target * (student[s] / 0.1).log_softmax(1)).sum(1).mean())
    torch.testing.assert_close(ours.loss(views, 0.0), torch.stack(terms).mean(), rtol=0, atol=1e-6)


def test_the_last_layer_stays_in_the_frozen_share() -> None:
    ours = build("dino", *NARROW, "arch.frozen_last_layer=0.1").double()
    ours.loss(fixed_views(8, 8), 0.09).backward()
    assert ours.get_parameter("projector.last_layer.weight_v").grad is None
    ours.loss(fixed_views(8, 8), 0.1).backward()
    assert ours.get_parameter("projector.last_layer.weight_v").grad is not None

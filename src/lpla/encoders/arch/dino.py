"""DINO: match a slow teacher's centred and sharpened output on other views (Caron et al., arXiv 2104.14294)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from math import cos, pi
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.inputs import Views
from lpla.contracts.settings import Decay, Dimension, Positive, Share, checked
from lpla.encoders.arch._momentum import update_momentum
from lpla.encoders.arch._multicrop import MultiCrop, forward
from lpla.encoders.arch._views import BatchNorm
from lpla.encoders.backbone.vit import neck

if TYPE_CHECKING:
    from lightly.models.modules import DINOProjectionHead


@checked
class DINO(Arch):
    """Trains by matching a slow teacher's output on other views.

    Lightly's head, with two layers as in its CIFAR-10 benchmark, and its loss, whose centre is a buffer.

    `batch_norm`: `joint` (default, the paper's code: one pass over all views of one size) or `per_view` (Lightly's
    example: one pass per view). The teacher starts as the student, as in the paper; Lightly draws its head anew.
    """

    beyond_group = "it keeps a running mean of its teacher's outputs for earlier images, which no clipping bounds"

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 2048,
        bottleneck_dim: Dimension = 256,
        output_dim: Dimension = 2048,
        frozen_last_layer: Share = 0.0,
        student_temp: Positive = 0.1,
        teacher_temp: Positive = 0.04,
        warmup_teacher_temp: Positive = 0.04,
        warmup: Share = 0.0,
        center_momentum: Decay = 0.9,
        momentum: Share = 0.99,
        final_momentum: Share = 0.99,
        crops: MultiCrop = MultiCrop(),
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(),
    ) -> None:
        from lightly.loss import DINOLoss

        super().__init__()
        self.backbone, self.slow_backbone = backbone, deepcopy(backbone)
        self.neck, self.slow_neck = neck(backbone), neck(backbone)
        self.projector = _head(backbone.features, hidden_dim, bottleneck_dim, output_dim)
        self.slow_projector = _head(backbone.features, hidden_dim, bottleneck_dim, output_dim)
        self.slow_projector.load_state_dict(self.projector.state_dict())
        for slow in (self.slow_backbone, self.slow_neck, self.slow_projector):
            slow.requires_grad_(False)
        self.criterion = DINOLoss(output_dim, student_temp=student_temp, center_momentum=center_momentum)
        self.temps = (warmup_teacher_temp, teacher_temp)
        self.warmup, self.frozen_last_layer = warmup, frozen_last_layer
        self.momentum, self.final_momentum = momentum, final_momentum
        self.crops = crops
        self.batch_norm: BatchNorm = batch_norm
        self.optimization = optimization

    def views(self, base: Views) -> tuple[Views, ...]:
        """Two global views, which the teacher sees too, and the local ones."""
        return self.crops.views(base)

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Cross-entropy of the student on every view to the teacher on the other global ones; first moves the teacher.

        Moves the centre last. The last layer is still, the temperature rises, in their first shares of training.
        """
        student = nn.Sequential(self.backbone, self.neck, self.projector)
        teacher = nn.Sequential(self.slow_backbone, self.slow_neck, self.slow_projector)
        m = self.final_momentum - (self.final_momentum - self.momentum) * (cos(pi * progress) + 1) / 2
        update_momentum(student, teacher, m)
        # Without a gradient the optimiser passes it by, as after Lightly's cancel_last_layer_gradients.
        self._head.last_layer.weight_v.requires_grad_(progress >= self.frozen_last_layer)
        seen = forward(student, views, self.batch_norm)
        with torch.no_grad():
            taught = forward(teacher, views[:2], self.batch_norm)
        return self.criterion(taught, seen, teacher_temp=self._teacher_temp(progress))

    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """Student's backbone feature h and its head's bottleneck z, before it is brought to unit length."""
        h = self.backbone(x)
        return {"backbone": h, "projector": self._head.layers(self.neck(h))}

    @property
    def _head(self) -> DINOProjectionHead:
        return cast("DINOProjectionHead", self.projector)

    def _teacher_temp(self, progress: float) -> float:
        start, end = self.temps
        return end if progress >= self.warmup else start + (end - start) * progress / self.warmup


def _head(features: int, hidden_dim: int, bottleneck_dim: int, output_dim: int) -> DINOProjectionHead:
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.modules.heads import ProjectionHead

    with warnings.catch_warnings():
        # Lightly's head uses torch's older weight_norm.
        warnings.filterwarnings("ignore", message=".*weight_norm.*deprecated", category=FutureWarning)
        head = DINOProjectionHead(features, hidden_dim, bottleneck_dim, output_dim)
    blocks = [(features, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.GELU()), (hidden_dim, bottleneck_dim, None, None)]
    head.layers = ProjectionHead(blocks).layers
    return head

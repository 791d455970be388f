"""SwAV: predict from one view the prototypes to which another is assigned (Caron et al., arXiv 2006.09882)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.inputs import Views
from lpla.contracts.settings import Dimension, Positive, Share, checked
from lpla.encoders.arch._multicrop import MultiCrop, forward
from lpla.encoders.arch._views import BatchNorm
from lpla.encoders.backbone.vit import neck

OPTIMIZATION = Optimization(partial(Adam, weight_decay=1e-6), base_lr=0.001)
"""lightly's CIFAR-10 benchmark."""


@checked
class SwAV(Arch):
    """Trains by predicting the prototypes to which another view is assigned.

    Lightly's head, prototypes and loss, without the queue, which its CIFAR-10 benchmark does not use.

    `batch_norm`: `joint` (default, the paper's code: one pass over all views of one size) or `per_view` (Lightly's
    example: one pass per view).
    """

    beyond_group = "it assigns the images of a whole batch evenly to its prototypes, which a group cannot fill"

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 512,
        output_dim: Dimension = 128,
        prototypes: Dimension = 512,
        frozen_prototypes: Share = 0.0,
        temperature: Positive = 0.1,
        sinkhorn_iterations: Annotated[int, Ge(0), Le(1000)] = 3,
        sinkhorn_epsilon: Annotated[
            float, Ge(0.0125), Le(1000.0)
        ] = 0.05,  # exp(1 / it) must be finite in single precision
        crops: MultiCrop = MultiCrop(local_scale=(0.05, 0.14)),
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = OPTIMIZATION,
    ) -> None:
        from lightly.loss import SwaVLoss
        from lightly.models.modules import SwaVProjectionHead, SwaVPrototypes

        super().__init__()
        self.backbone = backbone
        self.projector = nn.Sequential(neck(backbone), SwaVProjectionHead(backbone.features, hidden_dim, output_dim))
        self.prototypes = SwaVPrototypes(output_dim, prototypes)
        self.criterion = SwaVLoss(temperature, sinkhorn_iterations, sinkhorn_epsilon, sinkhorn_gather_distributed=True)
        self.frozen_prototypes = frozen_prototypes
        self.crops = crops
        self.batch_norm: BatchNorm = batch_norm
        self.optimization = optimization

    def views(self, base: Views) -> tuple[Views, ...]:
        """Two global views and the local ones."""
        return self.crops.views(base)

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Swapped prediction; first brings the prototypes to unit length, still in the first share of training."""
        # Without a gradient the optimiser passes them by; Lightly's own freezing counts steps, which we are not told.
        self.prototypes.requires_grad_(progress >= self.frozen_prototypes)
        self.prototypes.normalize()
        scores = forward(self._scores, views, self.batch_norm)
        return self.criterion(scores[:2], scores[2:]).squeeze(0)

    def _scores(self, x: Tensor) -> Tensor:
        scores = self.prototypes(F.normalize(self.projector(self.backbone(x)), dim=1))
        assert isinstance(scores, Tensor)
        return scores

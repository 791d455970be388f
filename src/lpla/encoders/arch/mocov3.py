"""MoCo v3: tell a slow copy's projection of the other view from those of the batch (Chen et al., arXiv 2104.02057)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, Positive, Share, checked
from lpla.encoders import ranks
from lpla.encoders.arch._momentum import cosine_momentum, slow_copy, update_momentum
from lpla.encoders.arch._multicrop import forward
from lpla.encoders.arch._views import BatchNorm
from lpla.encoders.backbone.vit import neck


@checked
class MoCoV3(Arch):
    """Trains by telling a slow copy's view from the others of the batch.

    Lightly's MoCo heads as their documentation describes version 3; Lightly has neither an example nor the loss.

    Both views are of the same distribution: the source's second one is sometimes solarised, ours never.
    `batch_norm`: `joint` (default, as the other frameworks here, one pass over both views) or `per_view` (the paper's
    code, one pass per view).
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 1024,
        output_dim: Dimension = 256,
        projector_layers: Annotated[int, Ge(2), Le(100)] = 2,
        temperature: Positive = 0.2,
        momentum: Share = 0.99,
        final_momentum: Share = 1.0,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(),
    ) -> None:
        from lightly.models.modules import MoCoProjectionHead

        super().__init__()
        self.backbone = backbone
        head = MoCoProjectionHead(backbone.features, hidden_dim, output_dim, projector_layers, batch_norm=True)
        self.projector = nn.Sequential(neck(backbone), head)
        self.predictor = MoCoProjectionHead(output_dim, hidden_dim, output_dim, num_layers=2, batch_norm=True)
        self.slow_backbone = slow_copy(self.backbone)
        self.slow_projector = slow_copy(self.projector)
        self.temperature = temperature
        self.momentum, self.final_momentum = momentum, final_momentum
        self.batch_norm: BatchNorm = batch_norm
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Symmetric cross-entropy of each view's query over the keys of the other; first moves the slow copies."""
        m = cosine_momentum(self.momentum, self.final_momentum, progress)
        update_momentum(self.backbone, self.slow_backbone, m)
        update_momentum(self.projector, self.slow_projector, m)
        q0, q1 = forward(lambda x: self.predictor(self.projector(self.backbone(x))), views, self.batch_norm)
        with torch.no_grad():
            k0, k1 = forward(lambda x: self.slow_projector(self.slow_backbone(x)), views, self.batch_norm)
        return self._contrast(q0, k1) + self._contrast(q1, k0)

    def _contrast(self, queries: Tensor, keys: Tensor) -> Tensor:
        asked, known = (ranks.all_gather(F.normalize(x, dim=1)) for x in (queries, keys))
        logits = asked @ known.T / self.temperature
        own = torch.arange(len(logits), device=logits.device)
        # The paper's factor, which keeps the gradient's size when the temperature changes.
        return 2 * self.temperature * F.cross_entropy(logits, own)

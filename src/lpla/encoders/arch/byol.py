"""BYOL: predict a slow copy's projection of the other view, without negatives (Grill et al., arXiv 2006.07733)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, Share, checked
from lpla.encoders.arch._momentum import cosine_momentum, slow_copy, update_momentum
from lpla.encoders.arch._views import BatchNorm, set_batch_norm


@checked
class BYOL(Arch):
    """Trains by predicting a slow copy's projection of the other view.

    Lightly's heads and loss; both views in one forward of each network.

    Both views are of the same distribution, as in Lightly's CIFAR-10 benchmark; the paper's are asymmetric.
    `batch_norm`: `joint` is the default, the same for every framework, so that a comparison of frameworks is none of
    batch norms; `per_view` is Lightly's example and the paper's code, which forward each view alone.
    """

    compares = False

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 1024,
        output_dim: Dimension = 256,
        momentum: Share = 0.99,
        final_momentum: Share = 0.99,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(),
    ) -> None:
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead

        super().__init__()
        self.backbone = backbone
        self.projector = BYOLProjectionHead(backbone.features, hidden_dim, output_dim)
        self.predictor = BYOLPredictionHead(output_dim, hidden_dim, output_dim)
        set_batch_norm(self, batch_norm, views=2)
        self.slow_backbone = slow_copy(self.backbone)
        self.slow_projector = slow_copy(self.projector)
        self.criterion = NegativeCosineSimilarity()
        self.momentum, self.final_momentum = momentum, final_momentum
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Symmetric negative cosine similarity; first moves the slow copies by a cosine-scheduled momentum."""
        momentum = cosine_momentum(self.momentum, self.final_momentum, progress)
        update_momentum(self.backbone, self.slow_backbone, momentum)
        update_momentum(self.projector, self.slow_projector, momentum)
        x = torch.cat(list(views))
        p0, p1 = self.predictor(self.projector(self.backbone(x))).chunk(2)
        with torch.no_grad():
            z0, z1 = self.slow_projector(self.slow_backbone(x)).chunk(2)
        return 0.5 * (self.criterion(p0, z1) + self.criterion(p1, z0))

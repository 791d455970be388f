"""Barlow Twins: make the cross-correlation of two views' embeddings the identity (Zbontar et al., arXiv 2103.03230)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, NonNegative, checked
from lpla.encoders import ranks
from lpla.encoders.arch._views import BatchNorm, set_batch_norm


@checked
class BarlowTwins(Arch):
    """Trains by the cross-correlation of two views.

    Lightly's loss, and the projector of two layers of its CIFAR-10 benchmark; both views in one forward.

    The loss standardises each view's embeddings by their batch, which SyncBatchNorm does not convert (Lightly's own
    gathering leaves the gradient's norm off by 4 % on two devices): it is given the embeddings of all ranks.
    `batch_norm`: `joint` is the default, the same for every framework, so that a comparison of frameworks is none of
    batch norms; `per_view` is Lightly's example, which forwards each view alone. The loss standardises each view
    by itself in both.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 512,
        output_dim: Dimension = 512,
        redundancy: NonNegative = 5e-3,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(),
    ) -> None:
        from lightly.loss import BarlowTwinsLoss
        from lightly.models.modules.heads import ProjectionHead

        super().__init__()
        self.backbone = backbone
        first = (backbone.features, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU())
        self.projector = ProjectionHead([first, (hidden_dim, output_dim, None, None)])
        set_batch_norm(self, batch_norm, views=2)
        self.criterion = BarlowTwinsLoss(lambda_param=redundancy)
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Invariance on the diagonal, `redundancy` times decorrelation off it; no schedule."""
        z0, z1 = self.projector(self.backbone(torch.cat(list(views)))).chunk(2)
        return self.criterion(ranks.all_gather(z0), ranks.all_gather(z1))

"""SimSiam: predict the other view's projection, through which no gradient flows (Chen & He, arXiv 2011.10566)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, checked
from lpla.encoders.arch._views import BatchNorm, set_batch_norm


@checked
class SimSiam(Arch):
    """Trains by predicting the other view's projection, through which no gradient flows.

    Lightly's loss and prediction head, and the projector of two layers of its CIFAR-10 benchmark (as in the paper).

    `batch_norm`: `joint` is the default, the same for every framework, so that a comparison of frameworks is none of
    batch norms; `per_view` is Lightly's example, which forwards each view alone.
    """

    compares = False

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 2048,
        output_dim: Dimension = 2048,
        prediction_dim: Dimension = 512,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(reference_batch=None),
    ) -> None:
        from lightly.loss import NegativeCosineSimilarity
        from lightly.models.modules import SimSiamPredictionHead
        from lightly.models.modules.heads import ProjectionHead

        super().__init__()
        self.backbone = backbone
        first = (backbone.features, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU())
        self.projector = ProjectionHead([first, (hidden_dim, output_dim, nn.BatchNorm1d(output_dim), None)])
        self.predictor = SimSiamPredictionHead(output_dim, prediction_dim, output_dim)
        set_batch_norm(self, batch_norm, views=2)
        self.criterion = NegativeCosineSimilarity()
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Symmetric negative cosine similarity; no schedule."""
        z = self.projector(self.backbone(torch.cat(list(views))))
        p0, p1 = self.predictor(z).chunk(2)
        z0, z1 = z.detach().chunk(2)
        return 0.5 * (self.criterion(z0, p1) + self.criterion(z1, p0))

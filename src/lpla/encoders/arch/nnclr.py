"""NNCLR: contrast an image's view with the nearest earlier embedding of another (Dwibedi et al., arXiv 2104.14548)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, Positive, checked
from lpla.encoders.arch._contrastive import NTXent
from lpla.encoders.arch._views import BatchNorm, set_batch_norm


@checked
class NNCLR(Arch):
    """Trains by contrasting a view with the nearest earlier embedding of another.

    Lightly's loss, bank and prediction head, and the projector of two layers of its CIFAR-10 benchmark.

    `queue_size`: the nearest neighbour is sought among that many embeddings. With fewer members the queue holds each
    image many times over, and the neighbour is mostly an earlier view of the same image.
    `batch_norm`: `joint` is the default, the same for every framework, so that a comparison of frameworks is none of
    batch norms; `per_view` is Lightly's example, which forwards each view alone.
    """

    beyond_group = "it keeps a queue of embeddings of earlier images, which no clipping bounds"

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 2048,
        output_dim: Dimension = 256,
        prediction_dim: Dimension = 4096,
        temperature: Positive = 0.5,
        queue_size: Dimension = 4096,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(),
    ) -> None:
        from lightly.models.modules import NNCLRPredictionHead
        from lightly.models.modules.heads import ProjectionHead

        from lpla.encoders.arch._bank import Neighbours

        super().__init__()
        self.backbone = backbone
        first = (backbone.features, hidden_dim, nn.BatchNorm1d(hidden_dim), nn.ReLU())
        self.projector = ProjectionHead([first, (hidden_dim, output_dim, nn.BatchNorm1d(output_dim), None)])
        self.predictor = NNCLRPredictionHead(output_dim, prediction_dim, output_dim)
        set_batch_norm(self, batch_norm, views=2)
        self.queue = Neighbours(queue_size, output_dim)
        self.criterion = NTXent(temperature)
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Symmetric NT-Xent of predictions and neighbours; view 1 then enters the queue; no schedule."""
        z = self.projector(self.backbone(torch.cat(list(views))))
        p0, p1 = self.predictor(z).chunk(2)
        z0, z1 = z.detach().chunk(2)
        near0, near1 = self.queue(z0, update=False), self.queue(z1, update=True)
        return 0.5 * (self.criterion(near0, p1) + self.criterion(near1, p0))

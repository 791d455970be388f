"""MoCo v2: contrast with a slow copy's view against a queue of earlier ones (Chen et al., arXiv 2003.04297)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, Positive, Share, checked
from lpla.encoders.arch._contrastive import NTXent
from lpla.encoders.arch._momentum import cosine_momentum, slow_copy, update_momentum
from lpla.encoders.arch._views import BatchNorm, set_batch_norm


@checked
class MoCo(Arch):
    """Trains by contrasting a slow copy's view with a queue of earlier embeddings.

    Lightly's head, and its loss and memory bank; all views that a network sees in one forward.

    `queue_size`: with fewer members than that the queue holds each image many times over, under several ages of the
    slow copy, so most queries meet their own image among the negatives.
    `symmetric`: each view is query and key in turn, as in Lightly's benchmark, where the second term's negatives
    already contain the first one's keys; otherwise view 0 asks and view 1 is the key, as in Lightly's example.
    `batch_norm`: `joint` is the default, the same for every framework, so that a comparison of frameworks is none of
    batch norms; `per_view` is Lightly's benchmark, which forwards each view alone (and imitates 8 GPUs by splitting
    its batch norm, between which it shuffles the keys: neither is done here). Without `symmetric` they are the same.
    """

    beyond_group = "it keeps a queue of embeddings of earlier images, which no clipping bounds"

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 512,
        output_dim: Dimension = 128,
        temperature: Positive = 0.1,
        queue_size: Dimension = 4096,
        symmetric: bool = True,
        momentum: Share = 0.99,
        final_momentum: Share = 0.99,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(),
    ) -> None:
        from lightly.models.modules import MoCoProjectionHead

        from lpla.encoders.arch._bank import Queue

        super().__init__()
        self.backbone = backbone
        self.projector = MoCoProjectionHead(backbone.features, hidden_dim, output_dim)
        set_batch_norm(self, batch_norm, views=2 if symmetric else 1)
        self.slow_backbone = slow_copy(self.backbone)
        self.slow_projector = slow_copy(self.projector)
        self.criterion = NTXent(temperature, Queue(queue_size, output_dim))
        self.symmetric = symmetric
        self.momentum, self.final_momentum = momentum, final_momentum
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """NT-Xent against the queue, which the keys then enter; first moves the slow copies by a cosine schedule."""
        momentum = cosine_momentum(self.momentum, self.final_momentum, progress)
        update_momentum(self.backbone, self.slow_backbone, momentum)
        update_momentum(self.projector, self.slow_projector, momentum)
        if not self.symmetric:
            query, key = views
            return self.criterion(self.projector(self.backbone(query)), self._keys(key))
        x = torch.cat(list(views))
        q0, q1 = self.projector(self.backbone(x)).chunk(2)
        k0, k1 = self._keys(x).chunk(2)
        return 0.5 * (self.criterion(q0, k1) + self.criterion(q1, k0))

    @torch.no_grad()
    def _keys(self, x: Tensor) -> Tensor:
        return self.slow_projector(self.slow_backbone(x))

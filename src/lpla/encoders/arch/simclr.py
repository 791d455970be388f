"""SimCLR: contrast two views of an image against all other views of the batch (Chen et al., arXiv 2002.05709)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, Positive, checked
from lpla.encoders.arch._contrastive import DCL, NTXent
from lpla.encoders.arch._views import BatchNorm, set_batch_norm


@checked
class SimCLR(Arch):
    """Trains by contrasting two views of an image with all others of the batch.

    Lightly's head and NT-Xent loss; both views in one forward.

    `batch_norm`: `joint` is the default, as in the paper's own code, and the same for every framework, so that a
    comparison of frameworks is none of batch norms; `per_view` is Lightly's example, which forwards each view alone.
    `decoupled` takes the positive out of the denominator (DCL).
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 512,
        output_dim: Dimension = 128,
        temperature: Positive = 0.5,
        decoupled: bool = False,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = Optimization(),
    ) -> None:
        from lightly.models.modules import SimCLRProjectionHead

        super().__init__()
        self.backbone = backbone
        self.projector = SimCLRProjectionHead(backbone.features, hidden_dim, output_dim)
        set_batch_norm(self, batch_norm, views=2)
        self.criterion = DCL(temperature) if decoupled else NTXent(temperature)
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """NT-Xent (or DCL) of the two projected views; no schedule."""
        z0, z1 = self.projector(self.backbone(torch.cat(list(views)))).chunk(2)
        return self.criterion(z0, z1)

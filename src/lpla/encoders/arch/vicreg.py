"""VICReg: make two views alike, spread each dimension, and decorrelate dimensions (Bardes et al., arXiv 2105.04906)."""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from lightly.utils.lars import LARS
from torch import Tensor

from lpla.contracts.encoder import Arch, Backbone, Optimization
from lpla.contracts.settings import Dimension, NonNegative, checked
from lpla.encoders import ranks
from lpla.encoders.arch._contrastive import off_diagonal
from lpla.encoders.arch._views import BatchNorm, set_batch_norm

OPTIMIZATION = Optimization(partial(LARS, momentum=0.9, weight_decay=1e-4, trust_coefficient=0.02), 0.3, 256, 10)
"""solo-learn's CIFAR-10 configuration."""


@checked
class VICReg(Arch):
    """Trains by invariance, variance and covariance of two views' embeddings.

    Lightly's loss on the Barlow Twins head of its example (three layers); both views in one forward.

    `batch_norm`: `joint` is the default, the same for every framework, so that a comparison of frameworks is none of
    batch norms; `per_view` is Lightly's example, which forwards each view alone.
    """

    def __init__(
        self,
        backbone: Backbone,
        /,
        *,
        hidden_dim: Dimension = 512,
        output_dim: Dimension = 512,
        invariance: NonNegative = 25.0,
        variance: NonNegative = 25.0,
        covariance: NonNegative = 1.0,
        batch_norm: BatchNorm = "joint",
        optimization: Optimization = OPTIMIZATION,
    ) -> None:
        from lightly.models.modules import BarlowTwinsProjectionHead

        super().__init__()
        self.backbone = backbone
        self.projector = BarlowTwinsProjectionHead(backbone.features, hidden_dim, output_dim)
        set_batch_norm(self, batch_norm, views=2)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance
        self.optimization = optimization

    def loss(self, views: Sequence[Float[Tensor, "B C _H _W"]], progress: float) -> Float[Tensor, ""]:
        """Return the sum of the three weighted terms, without a schedule."""
        from lightly.loss.vicreg_loss import invariance_loss, variance_loss

        z0, z1 = self.projector(self.backbone(torch.cat(list(views)))).chunk(2)
        z0, z1 = ranks.all_gather(z0), ranks.all_gather(z1)
        invariance = invariance_loss(z0, z1)
        variance = 0.5 * (variance_loss(z0) + variance_loss(z1))
        covariance = covariance_loss(z0) + covariance_loss(z1)
        return self.invariance * invariance + self.variance * variance + self.covariance * covariance


def covariance_loss(z: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    """The squared covariances of all pairs of dimensions, their sum over the number of dimensions; Lightly's bits."""
    z = z - z.mean(dim=0)
    covariance = torch.einsum("bc,bd->cd", z, z) / (len(z) - 1)
    return off_diagonal(covariance).flatten().pow(2).sum() / z.shape[1]

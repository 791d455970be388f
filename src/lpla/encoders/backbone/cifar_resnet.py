"""ResNets for small images (3 x 3 stem, no pooling), from Lightly's ResNetGenerator (He et al., arXiv 1512.03385)."""

from typing import Annotated, Literal

from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from lpla.contracts.encoder import Backbone
from lpla.contracts.inputs import UndefinedError
from lpla.contracts.settings import checked

MAPS_VERSION = 1
"""Raise it when a change here changes the positions."""
STEM = 1
"""What the stem divides an image's side by."""
STAGES = 4


def stages_with_positions(side: int, stem: int) -> int:
    """Return how many stages in a row, from the first, make maps of more than one position of images of `side` pixels.

    The stem of a residual network divides the side by `stem`, the first stage keeps it, each later one halves it; all
    round up. Raises UndefinedError if there is no such stage.
    """
    count = sum(side > stem * 2**stage for stage in range(STAGES))
    if not count:
        needs = f"a map of more than one position needs images of at least {stem + 1} pixels under this backbone"
        raise UndefinedError(f"{needs}, got {side}")
    return count


@checked
class CifarResNet(Backbone):
    """A ResNet for small images.

    A depth and a width factor; the mean over positions is the feature.

    `stem_relu`: whether a ReLU follows the stem, as in the paper and in Lightly's network; Lightly's CIFAR-10 benchmark
    takes that network apart and loses it, so its figures are of networks without.
    """

    def __init__(
        self,
        channels: int,
        /,
        *,
        depth: Literal[9, 18, 34, 50] = 9,
        width: Annotated[float, Ge(1 / 64), Le(64)] = 0.25,
        stem_relu: bool = True,
    ) -> None:
        from lightly.models import ResNetGenerator

        super().__init__()
        net = ResNetGenerator(f"resnet-{depth}", width=width)
        stem = net.conv1.out_channels
        # Lightly's stem takes three channels; greyscale images need their own.
        self.conv1 = nn.Conv2d(channels, stem, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = net.bn1
        self.stages = nn.Sequential(net.layer1, net.layer2, net.layer3, net.layer4)
        self.features = net.linear.in_features
        self.stem_relu = stem_relu

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Feature vectors: the last stage's maps, averaged."""
        return self._map(x, STAGES).mean(dim=(2, 3))

    def positions(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B T E"]:
        """The last stage's map, or an earlier one's where that is a single position (images of 8 pixels: stage 3)."""
        return self._map(x, stages_with_positions(side, STEM)).flatten(2).mT

    def part(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B E"]:
        """Average the map of the same stage."""
        return self._map(x, stages_with_positions(side, STEM)).mean(dim=(2, 3))

    def _map(self, x: Tensor, stages: int) -> Tensor:
        stem = self.bn1(self.conv1(x))
        return self.stages[:stages](F.relu(stem) if self.stem_relu else stem)

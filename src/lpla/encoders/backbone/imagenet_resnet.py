"""ResNets for large images (7 x 7 stem, pooling), torchvision's, untrained (He et al., arXiv 1512.03385)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.encoder import Backbone
from lpla.contracts.settings import checked
from lpla.encoders.backbone.cifar_resnet import stages_with_positions

STEM = 4
"""What the stem and its pooling divide an image's side by."""


@checked
class ImagenetResNet(Backbone):
    """A ResNet with the ImageNet stem.

    Depth 18 or 50; the mean over positions is the feature. A side of 32 pixels leaves a single position.
    """

    def __init__(self, channels: int, /, *, depth: Literal[18, 50] = 18) -> None:
        from torchvision import models

        super().__init__()
        self.net: models.ResNet = getattr(models, f"resnet{depth}")(weights=None)
        self.features = self.net.fc.in_features
        # torchvision's stem takes three channels; greyscale images need their own, drawn as torchvision draws them.
        stem = self.net.conv1.out_channels
        self.net.conv1 = nn.Conv2d(channels, stem, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Feature vectors: the last stage's maps, averaged."""
        return self.net(x)

    def positions(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B T E"]:
        """The last stage's map, or an earlier one's where that is a single position (images of 32 pixels: stage 3)."""
        return self._map(x, side).flatten(2).mT

    def part(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B E"]:
        """Average the map of the same stage."""
        return self._map(x, side).mean(dim=(2, 3))

    def _map(self, x: Tensor, side: int) -> Tensor:
        net = self.net
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4)[: stages_with_positions(side, STEM)]:
            x = stage(x)
        return x

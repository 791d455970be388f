"""The ResNets against Lightly's and torchvision's own forward on the same weights."""

from typing import Any

import pytest
import torch
import torchvision
from lightly.models import ResNetGenerator
from torch import Tensor, nn

from lpla.contracts.encoder import Backbone
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.encoders.backbone.cifar_resnet import CifarResNet
from lpla.encoders.backbone.imagenet_resnet import ImagenetResNet


def lightlys(ours: CifarResNet, depth: int, width: float) -> nn.Module:
    net = ResNetGenerator(f"resnet-{depth}", width=width)
    net.conv1.load_state_dict(ours.conv1.state_dict())
    net.bn1.load_state_dict(ours.bn1.state_dict())
    for stage, copied in zip((net.layer1, net.layer2, net.layer3, net.layer4), ours.stages, strict=True):
        stage.load_state_dict(copied.state_dict())
    return net


@pytest.mark.parametrize(("depth", "features"), [(9, 64), (18, 64), (34, 64), (50, 256)])
@pytest.mark.parametrize("training", [True, False])
def test_it_is_lightlys_resnet_without_its_classifier(depth: int, features: int, training: bool) -> None:
    torch.manual_seed(0)
    ours = CifarResNet(3, depth=depth, width=0.125, stem_relu=True)
    net = lightlys(ours, depth, 0.125)
    net.linear = nn.Identity()
    x = torch.rand(4, 3, 32, 32)
    got, expected = ours.train(training)(x), net.train(training)(x)
    assert got.shape == (4, ours.features) == (4, features)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("depth", [9, 18])
def test_without_the_stems_relu_it_is_lightlys_benchmark(depth: int) -> None:
    torch.manual_seed(0)
    ours = CifarResNet(3, depth=depth, width=0.125, stem_relu=False)
    benchmark = nn.Sequential(*list(lightlys(ours, depth, 0.125).children())[:-1], nn.AdaptiveAvgPool2d(1))
    x = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(ours(x), benchmark(x).flatten(start_dim=1))
    with_relu = CifarResNet(3, depth=depth, width=0.125, stem_relu=True)
    with_relu.load_state_dict(ours.state_dict())
    assert not torch.allclose(with_relu(x), ours(x))


@pytest.mark.parametrize(("depth", "features"), [(18, 512), (50, 2048)])
def test_it_is_torchvisions_resnet_without_its_classifier(depth: int, features: int) -> None:
    torch.manual_seed(0)
    ours = ImagenetResNet(3, depth=depth)
    net = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    net.fc = nn.Identity()
    net.load_state_dict(ours.net.state_dict())
    x = torch.rand(2, 3, 64, 64)
    got = ours(x)
    assert got.shape == (2, ours.features) == (2, features)
    assert torch.equal(got, net(x))
    fresh = torchvision.models.resnet18().conv1.weight.std()
    torch.testing.assert_close(ours.net.conv1.weight.std(), fresh, rtol=0.05, atol=0)


@pytest.mark.parametrize("side", [8, 32])
def test_greyscale_images_have_a_stem_of_their_own(side: int) -> None:
    x = torch.rand(2, 1, side, side)
    for backbone in (CifarResNet(1, depth=9, width=0.25, stem_relu=True), ImagenetResNet(1, depth=18)):
        assert backbone(x).shape == (2, backbone.features)


def test_other_depths_are_refused() -> None:
    with pytest.raises(InputError, match=r"^backbone.depth must be one of 9, 18, 34, 50, got 20$"):
        CifarResNet(3, depth=20, width=1.0, stem_relu=True)
    with pytest.raises(InputError, match=r"^backbone.depth must be 18 or 50, got 9$"):
        ImagenetResNet(3, depth=9)


def cifar(channels: int = 3, depth: int = 9) -> CifarResNet:
    torch.manual_seed(0)
    return CifarResNet(channels, depth=depth, width=0.125, stem_relu=True).eval()


def imagenet(depth: int = 18) -> ImagenetResNet:
    torch.manual_seed(0)
    return ImagenetResNet(3, depth=depth).eval()


@pytest.mark.parametrize(
    ("backbone", "side", "stage", "positions"),
    [
        (cifar(), 2, 1, 4),
        (cifar(), 8, 3, 4),
        (cifar(), 9, 4, 4),
        (cifar(depth=18), 28, 4, 16),
        (cifar(depth=50), 32, 4, 16),
        (imagenet(), 8, 1, 4),
        (imagenet(), 32, 3, 4),
        (imagenet(), 33, 4, 4),
        (imagenet(50), 96, 4, 9),
    ],
)
def test_positions_are_the_deepest_map_that_has_more_than_one(
    backbone: CifarResNet | ImagenetResNet, side: int, stage: int, positions: int
) -> None:
    net = backbone.net if isinstance(backbone, ImagenetResNet) else backbone
    stages = (
        [net.layer1, net.layer2, net.layer3, net.layer4] if isinstance(net, torchvision.models.ResNet) else net.stages
    )
    maps: list[Any] = []
    hooks = [s.register_forward_hook(lambda _, __, output: maps.append(output)) for s in stages]
    images, parts = torch.rand(2, 3, side, side), torch.rand(2, 3, side // 2, side // 2)
    backbone(images)
    expected = maps[stage - 1].clone()
    backbone(parts)
    mean = maps[4 + stage - 1].mean(dim=(2, 3))
    for hook in hooks:
        hook.remove()
    rows = torch.stack([expected[:, :, i, j] for i in range(expected.shape[2]) for j in range(expected.shape[3])], 1)
    got = backbone.positions(images, side)
    assert got.shape[1] == positions
    torch.testing.assert_close(got, rows)
    torch.testing.assert_close(backbone.part(parts, side), mean)


def test_the_last_maps_positions_have_the_feature_as_their_mean() -> None:
    images = torch.rand(2, 3, 64, 64)
    for backbone in (cifar(), imagenet()):
        torch.testing.assert_close(backbone.positions(images, 64).mean(dim=1), backbone(images))
        torch.testing.assert_close(backbone.part(images, 64), backbone(images))


@pytest.mark.parametrize(("backbone", "side", "least"), [(cifar(), 1, 2), (imagenet(), 4, 5)])
def test_images_too_small_for_a_map(backbone: Backbone, side: int, least: int) -> None:
    for ask in (backbone.positions, backbone.part):
        with pytest.raises(UndefinedError, match=f"needs images of at least {least} pixels .*, got {side}$"):
            ask(torch.rand(2, 3, side, side), side)


def test_a_backbone_without_a_map_says_so() -> None:
    class Flat(Backbone):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)

    for ask in (Flat().positions, Flat().part):
        with pytest.raises(UndefinedError, match=r"^a map of positions needs a backbone that has one, got Flat$"):
            ask(torch.rand(2, 3, 8, 8), 8)

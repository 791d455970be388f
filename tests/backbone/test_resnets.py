"""The ResNets against Lightly's and torchvision's own forward on the same weights."""

import pytest
import torch
import torchvision
from lightly.models import ResNetGenerator
from torch import nn

from lpla.backbone.cifar_resnet import CifarResNet
from lpla.backbone.imagenet_resnet import ImagenetResNet
from lpla.contracts import InputError


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

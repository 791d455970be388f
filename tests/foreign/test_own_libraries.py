"""Files of the libraries that lpla itself needs, written here and now: torchvision's, lightly's and its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lpla.encoders.target._networks import KNOWN, _Tokens, shapes_of
from lpla.encoders.target.checkpoint import Checkpoint
from lpla.encoders.target.torchvision import Torchvision

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def saved(state: dict[str, Tensor], tmp_path: Path) -> str:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "encoder.safetensors")
    return str(tmp_path / "encoder.safetensors")


def test_a_classifier_of_torchvision_gives_its_features_and_no_projector(tmp_path: Path) -> None:
    from torchvision.models import resnet18

    net: Any = resnet18()
    encoder = Torchvision(file=saved(net.state_dict(), tmp_path), model="resnet18", normalize="none").build()
    net.fc = nn.Identity()
    with torch.inference_mode():
        found = encoder.encode(IMAGES)
        torch.testing.assert_close(found["backbone"], net.eval()(IMAGES), rtol=1e-5, atol=1e-5)
    assert encoder.layers == ("backbone",) and encoder.notes[1] == "ignored: fc (2)"


def test_lightlys_network_taken_apart_loses_its_first_relu_and_so_does_ours(tmp_path: Path) -> None:
    from lightly.models import ResNetGenerator

    net = ResNetGenerator("resnet-9", width=0.125)
    apart = nn.Sequential(*list(net.children())[:-1], nn.AdaptiveAvgPool2d(1)).eval()
    path = saved({f"backbone.{name}": tensor for name, tensor in apart.state_dict().items()}, tmp_path)
    settings: dict[str, Any] = {"arch": "lightly/resnet-9", "arguments": {"width": 0.125}, "normalize": "none"}
    with torch.inference_mode():
        found = Checkpoint(file=path, **settings).build().encode(IMAGES)["backbone"]
        torch.testing.assert_close(found, apart(IMAGES).flatten(1), rtol=1e-5, atol=1e-5)
        path = saved(net.state_dict(), tmp_path)
        named = Checkpoint(file=path, **settings).build().encode(IMAGES)["backbone"]
        net.linear = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        whole = net.eval()(IMAGES)
    torch.testing.assert_close(named, whole, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, named, rtol=0.01)


def test_an_encoder_of_ours_read_back_answers_as_it_did(tmp_path: Path) -> None:
    from lpla.encoders.arch.moco import MoCo
    from lpla.encoders.backbone.cifar_resnet import CifarResNet

    size: dict[str, Any] = {"depth": 9, "width": 0.125}
    arch = MoCo(CifarResNet(3, **size), hidden_dim=16, output_dim=8, queue_size=16)
    arch.encode(IMAGES)  # its batch norms see images
    path = saved(arch.state_dict(), tmp_path)
    encoder = Checkpoint(file=path, arch="ours/cifar_resnet", arguments=size, normalize="none").build()
    assert encoder.notes[0].startswith("backbone as ours/cifar_resnet, not slow_backbone: ")
    with torch.inference_mode():
        expected, found = arch.eval().encode(IMAGES), encoder.encode(IMAGES)
    assert set(found) == set(expected) == {"backbone", "projector"}
    for layer in expected:
        torch.testing.assert_close(found[layer], expected[layer], rtol=1e-5, atol=1e-5)


def test_a_transformer_of_torchvision_has_its_tokens() -> None:
    from torchvision.models.vision_transformer import VisionTransformer

    net: Any = VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=16, mlp_dim=16)
    net.heads = nn.Identity()
    network = _Tokens(net).eval()
    assert network.side == 32
    with torch.inference_mode():
        found = network(IMAGES)
    assert {name: tuple(one.shape) for name, one in found.items()} == dict.fromkeys(("pooled", "mean", "cls"), (3, 16))
    assert torch.equal(found["pooled"], found["cls"]) and not torch.allclose(found["mean"], found["cls"])


@pytest.mark.parametrize(("arch", "arguments"), KNOWN[::4], ids=[arch for arch, _ in KNOWN[::4]])
def test_known_architectures_can_be_built_without_memory(arch: str, arguments: dict[str, Any]) -> None:
    plain, numbered = shapes_of(arch, arguments)
    assert len(plain) >= 20 and not numbered.keys() & plain.keys()
    assert not any(name.startswith(("fc.", "head.", "heads.", "linear.")) for name in plain)

"""Architectures by name, built without weights: torchvision's, timm's, lightly's and lpla's own.

A network answers with everything that can be read of it, by name: `pooled`, what its library calls its features, and,
of transformers, `cls`, the class token, and `mean`, the mean of the patches' tokens.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lpla.contracts.inputs import InputError
from lpla.contracts.result import nearest
from lpla.contracts.settings import SettingError
from lpla.encoders.target._state_dicts import Shapes, backbone_shapes, state_dicts

KNOWN: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"torchvision/resnet{depth}", {}) for depth in (18, 34, 50, 101)),
    ("torchvision/wide_resnet50_2", {}),
    ("torchvision/convnext_tiny", {}),
    ("torchvision/vit_b_16", {}),
    *((f"timm/vit_{size}_patch16_224", {}) for size in ("tiny", "small", "base", "large")),
    *((f"timm/vit_{size}_patch14_dinov2", {"img_size": 518}) for size in ("small", "base")),
    ("timm/vit_base_patch16_clip_224", {}),
    ("timm/vit_base_patch32_clip_224", {}),
    ("timm/swin_tiny_patch4_window7_224", {}),
    ("timm/resnet26", {}),
    *((f"lightly/resnet-{depth}", {"width": 1.0}) for depth in (9, 18, 50)),
    *(("ours/cifar_resnet", {"depth": depth, "width": width}) for depth, width in ((9, 0.25), (18, 1.0))),
)
"""Architectures with which `lpla inspect` compares a file of which nothing is said."""
CLIP = "visual.class_embedding"
LIBRARIES = ("torchvision", "timm", "lightly", "ours")


class Network(nn.Module):
    """A convolutional network without its classifier, whose output is its features, perhaps still a map."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    @property
    def side(self) -> int | None:
        """Side of the images for which a transformer's positions are made; None: it takes any."""
        patches: Any = getattr(self.net, "patch_embed", None)
        if patches is not None and getattr(patches, "strict_img_size", False):
            return patches.img_size[0]
        return getattr(self.net, "image_size", None)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Whatever can be read, by name."""
        return {"pooled": pooled(self.net(x))}


class _Tokens(Network):
    """A transformer of torchvision, whose encoder makes tokens, the class token first."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        kept: list[Tensor] = []
        hook = self.net.get_submodule("encoder").register_forward_hook(lambda *given: kept.append(given[2]))
        try:
            found = {"pooled": self.net(x)}
        finally:
            hook.remove()
        return found | of_tokens(kept[0], 1)


class _Timm(Network):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        net: Any = self.net
        features = net.forward_features(x)
        found = {"pooled": pooled(net.forward_head(features, pre_logits=True))}
        return found | of_tokens(features, getattr(net, "num_prefix_tokens", 0)) if features.ndim == 3 else found


def pooled(x: Tensor) -> Tensor:
    """A vector for each image: of a map its mean over positions."""
    return x.mean(dim=(2, 3)) if x.ndim == 4 else x


def of_tokens(tokens: Tensor, before: int) -> dict[str, Tensor]:
    """The class token, where there is one, and the mean of the patches' tokens, before which `before` others stand."""
    return {"mean": tokens[:, before:].mean(dim=1)} | ({"cls": tokens[:, 0]} if before else {})


def build(
    arch: str, channels: int | None, arguments: Mapping[str, Any], stem: str = "own", setting: str = "target.arch"
) -> Network:
    """A network without weights of its own, its classifier left out.

    Args:
        arch: LIBRARY/NAME.
        channels: of the images; None: the library's default, 3.
        arguments: of the library's constructor.
        stem: `own`; `cifar`: a torchvision ResNet whose first convolution is 3 x 3, stride 1, padding 1, and which does
            not pool after it; `solo`: the same with solo-learn's padding of 2.
        setting: which names the architecture, for messages.

    Raises:
        InputError: there is no such architecture, or it has no such argument.
    """
    library, _, name = arch.partition("/")
    if library not in LIBRARIES or not name:
        raise InputError(f"{setting} must be LIBRARY/NAME with a library of {', '.join(LIBRARIES)}, got {arch}")
    if "checkpoint_path" in arguments:  # Of timm: it would read a second file, in place of target.file.
        raise InputError("target.arguments must not name weights, as target.file does, got checkpoint_path")
    try:
        net = {"torchvision": _torchvision, "timm": _timm, "lightly": _lightly, "ours": _ours}[library](
            name, channels or 3, dict(arguments), setting
        )
    except (TypeError, ValueError, AssertionError) as wrong:
        if isinstance(wrong, InputError) and not isinstance(wrong, SettingError):
            raise
        raise InputError(f"target.arguments must be arguments of {arch}, got {dict(arguments)}: {wrong}") from wrong
    if stem != "own":
        _set_stem(arch, net, setting, padding=1 if stem == "cifar" else 2)
    return net.eval()


def _torchvision(name: str, channels: int, arguments: dict[str, Any], setting: str) -> Network:
    from torchvision import models

    if name not in (known := models.list_models(module=models)):
        raise InputError(f"{setting} must be a classifier of torchvision, got {name}{nearest(name, known)}")
    if channels != 3:
        raise InputError(f"target.channels must be 3 for torchvision's networks, got {channels}")
    net: Any = models.get_model(name, weights=None, **arguments)
    last = [path for path, module in net.named_modules() if isinstance(module, nn.Linear)][-1]
    net.set_submodule(last, nn.Identity())
    return (_Tokens if name.startswith("vit_") else Network)(net)


def _timm(name: str, channels: int, arguments: dict[str, Any], setting: str) -> Network:
    import timm

    if not timm.is_model(name.partition(".")[0]):
        raise InputError(f"{setting} must be a model of timm, got {name}{nearest(name, timm.list_models())}")
    settings: dict[str, Any] = {"num_classes": 0, "in_chans": channels} | arguments
    return _Timm(timm.create_model(name, pretrained=False, **settings))


def _lightly(name: str, channels: int, arguments: dict[str, Any], _setting: str) -> Network:
    from lightly.models import ResNetGenerator

    if channels != 3:
        raise InputError(f"target.channels must be 3 for lightly's networks, got {channels}")
    net = ResNetGenerator(name, **arguments)
    net.linear = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    return Network(net)


def _ours(name: str, channels: int, arguments: dict[str, Any], setting: str) -> Network:
    from lpla.encoders.backbone.cifar_resnet import CifarResNet
    from lpla.encoders.backbone.imagenet_resnet import ImagenetResNet
    from lpla.encoders.backbone.vit import ViT

    kinds = {"cifar_resnet": CifarResNet, "imagenet_resnet": ImagenetResNet, "vit": ViT}
    if name not in kinds:
        raise InputError(f"{setting} must be a backbone of lpla, ours/{' or ours/'.join(kinds)}, got ours/{name}")
    return Network(kinds[name](channels, **arguments))


def _set_stem(arch: str, network: Network, setting: str, padding: int) -> None:
    net: Any = network.net
    if not arch.startswith("torchvision/resnet"):
        got = arch if setting == "target.arch" else arch.partition("/")[2]
        raise InputError(f"target.stem can be changed in torchvision's ResNets alone, got {setting}={got}")
    net.conv1 = nn.Conv2d(3, net.conv1.out_channels, kernel_size=3, stride=1, padding=padding, bias=False)
    net.maxpool = nn.Identity()


def numbered(network: Network) -> Network | None:
    """The same layers as nn.Sequential(*children[:-1]) has them; None where the network is more than its children.

    The last child is the place of the classifier, which has been taken out.
    """
    children = list(network.net.children())
    if any(True for _ in network.net.parameters(recurse=False)) or any(True for _ in children[-1].parameters()):
        return None
    return Network(nn.Sequential(*children[:-1])).eval()


def of_open_clip(saved: Any, network: Network) -> Any:
    """What a file holds, an OpenCLIP image tower of it under timm's names, which timm itself finds; else as it is.

    The projection, which timm has as its classifier, becomes `projection.weight`.
    """
    from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

    towers = {at: tensors for at, tensors in state_dicts(saved) if any(CLIP in name for name in tensors)}
    if not towers or not isinstance(network.net, VisionTransformer):
        return saved
    found = {}
    for at, tensors in towers.items():
        plain = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        tower = dict(checkpoint_filter_fn(plain, network.net))
        tower.pop("head.bias", None)
        found[at or "visual"] = {name.replace("head.weight", "projection.weight"): t for name, t in tower.items()}
    return found


def shapes(network: Network | None) -> Shapes:
    """The tensors that a file must hold of a network."""
    return backbone_shapes(network.net.state_dict()) if network is not None else {}


def shapes_of(arch: str, arguments: Mapping[str, Any]) -> tuple[Shapes, Shapes]:
    """The tensors of an architecture, and those of its children in a sequence; no memory is taken for them."""
    with torch.device("meta"):
        network = build(arch, None, arguments)
        return shapes(network), shapes(numbered(network))

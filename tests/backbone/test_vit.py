"""Vision transformers: the feature before the final LayerNorm, images of any size, what cannot be built."""

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from lpla.contracts.inputs import InputError, UndefinedError
from lpla.encoders.backbone.vit import ViT

SMALL = {"width": 16, "depth": 2, "heads": 2, "patch_size": 2, "image_size": 8, "pooling": "token"}


def vit(channels: int = 3, pooling: str = "token") -> ViT:
    return ViT(channels, **SMALL | {"pooling": pooling})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_the_feature_is_timms_before_its_final_norm(pooling: str) -> None:
    ours = vit(pooling=pooling).eval()
    timms = VisionTransformer(8, 2, num_classes=0, embed_dim=16, depth=2, num_heads=2).eval()
    missing = timms.load_state_dict(ours.net.vit.state_dict(), strict=False).missing_keys
    assert missing == ["norm.weight", "norm.bias"]
    images = torch.rand(5, 3, 8, 8)
    before: list[Tensor] = []
    timms.norm.register_forward_pre_hook(lambda _, x: before.append(x[0]))
    timms(images)
    expected = before[0][:, 0] if pooling == "token" else before[0][:, 1:].mean(1)
    torch.testing.assert_close(ours(images), expected, rtol=0, atol=1e-6)
    norms = expected.norm(dim=1)
    assert ours.features == 16 and norms.std() > 0 and (norms - 4).abs().min() > 1e-3


@pytest.mark.parametrize(("side", "channels"), [(8, 1), (4, 1), (32, 3), (6, 3)])
def test_images_of_any_size(side: int, channels: int) -> None:
    assert vit(channels)(torch.rand(3, channels, side, side)).shape == (3, 16)


def test_positions_matter_and_are_fixed() -> None:
    ours = vit().eval()
    assert not ours.get_parameter("net.vit.pos_embed").requires_grad
    images = torch.rand(2, 3, 8, 8)
    swapped = images.roll(2, dims=3)
    assert not torch.allclose(ours(images), ours(swapped), atol=1e-6)


def test_every_trained_parameter_has_a_gradient() -> None:
    ours = vit()
    ours(torch.rand(2, 3, 8, 8)).sum().backward()
    assert not [name for name, p in ours.named_parameters() if p.requires_grad and p.grad is None]


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    vit()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 3}, "backbone.width must be a multiple of 4 and of backbone.heads, 3, got 16"),
        ({"width": 18}, "backbone.width must be a multiple of 4"),
        ({"patch_size": 3}, "backbone.image_size must be a multiple of patch_size, 3, got 8"),
        ({"pooling": "max"}, "backbone.pooling must be token or mean, got 'max'"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ViT(3, **SMALL | changes)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("shape", [(9, 9), (8, 6)])
def test_images_that_are_no_grid_of_patches(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"backbone.patch_size must divide square images into patches, got 2 for"):
        vit()(torch.rand(2, 3, *shape))


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_positions_are_the_patches_and_a_part_is_pooled_as_any_image(pooling: str) -> None:
    ours = vit(pooling=pooling).eval()
    images, parts = torch.rand(3, 3, 8, 8), torch.rand(3, 3, 4, 4)
    before: list[Any] = []
    hook = ours.net.vit.blocks[-1].register_forward_hook(lambda _, __, tokens: before.append(tokens))
    got = ours.positions(images, 8)
    hook.remove()
    assert got.shape == (3, 16, 16)
    torch.testing.assert_close(got, before[0][:, 1:])
    assert torch.equal(ours.part(parts, 8), ours(parts))
    if pooling == "mean":
        torch.testing.assert_close(got.mean(dim=1), ours(images))


def test_no_map_and_no_part() -> None:
    with pytest.raises(UndefinedError, match=r"needs images larger than patch_size, 2, got 2$"):
        vit().positions(torch.rand(2, 3, 2, 2), 2)
    with pytest.raises(UndefinedError, match=r"a side that patch_size, 2, divides, got 3 for images of 6$"):
        vit().part(torch.rand(2, 3, 3, 3), 6)

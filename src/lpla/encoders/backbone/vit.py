"""Vision transformers for small images, from timm in Lightly's wrapper (Dosovitskiy et al., arXiv 2010.11929)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor, nn

from lpla.contracts.encoder import Backbone
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.contracts.settings import Dimension, checked

if TYPE_CHECKING:
    from lightly.models.modules import MaskedVisionTransformerTIMM

NECK_VERSION = 1
"""Raise it when a change here changes the weights."""


@checked
class ViT(Backbone):
    """A vision transformer.

    A width, a depth, heads and square patches; the feature is the class token, or the mean of the patches.

    There is no final LayerNorm in here: it would fix every feature's L2 norm near sqrt(width), and the feature is what
    is released. Frameworks that want one keep it with their heads. Weights and the fixed sine-cosine positions start as
    in MAE and MoCo v3; positions are those of `image_size` and are interpolated for images of any other size.
    """

    def __init__(
        self,
        channels: int,
        /,
        *,
        width: Dimension = 128,
        depth: Annotated[int, Ge(1), Le(100)] = 4,
        heads: Dimension = 4,
        patch_size: Dimension = 2,
        image_size: Annotated[int, Ge(1), Le(4096)] = 8,
        pooling: Literal["token", "mean"] = "mean",
    ) -> None:
        from lightly.models.modules import MaskedVisionTransformerTIMM
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        if width % heads or width % 4:
            raise InputError(f"backbone.width must be a multiple of 4 and of backbone.heads, {heads}, got {width}")
        if image_size % patch_size:
            raise InputError(f"backbone.image_size must be a multiple of patch_size, {patch_size}, got {image_size}")
        vit = VisionTransformer(
            img_size=image_size,
            patch_size=patch_size,
            in_chans=channels,
            num_classes=0,
            global_pool="",
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            final_norm=False,
            dynamic_img_size=True,
        )
        vit.patch_embed.register_forward_pre_hook(_check_size)
        # Tokens are left out, never replaced: a trainable mask token would be a parameter without a gradient.
        unused = nn.Parameter(torch.zeros(1, 1, width), requires_grad=False)
        self.net = MaskedVisionTransformerTIMM(vit, mask_token=unused)
        self.pooling, self.features, self.patch_size = pooling, width, patch_size

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """Feature vectors: the last block's class token, or the mean of its patches."""
        tokens = self.net.encode(x)
        return tokens[:, 0] if self.pooling == "token" else tokens[:, 1:].mean(dim=1)

    def positions(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B T F"]:
        """Return the patches of the last block."""
        if side <= self.patch_size:
            needs = f"a map of more than one position needs images larger than patch_size, {self.patch_size}"
            raise UndefinedError(f"{needs}, got {side}")
        return self.net.encode(x)[:, 1:]

    def part(self, x: Float[Tensor, "B C H W"], side: int) -> Float[Tensor, "B F"]:
        """Return the feature of the part alone, pooled as any image's."""
        if x.shape[-1] % self.patch_size:
            needs = f"parts of an image need a side that patch_size, {self.patch_size}, divides"
            raise UndefinedError(f"{needs}, got {x.shape[-1]} for images of {side}")
        return self(x)


def transformer(backbone: Backbone) -> MaskedVisionTransformerTIMM | None:
    """Return the transformer within a backbone; None if it is a convolutional network."""
    from lightly.models.modules import MaskedVisionTransformerTIMM

    net = getattr(backbone, "net", None)
    return net if isinstance(net, MaskedVisionTransformerTIMM) else None


def neck(backbone: Backbone) -> nn.Module:
    """What stands between the released feature and the heads: a transformer's final LayerNorm, otherwise nothing."""
    return nn.Identity() if transformer(backbone) is None else nn.LayerNorm(backbone.features, eps=1e-6)


def _check_size(patches: nn.Module, images: tuple[Tensor]) -> None:
    """A hook rather than a line of `forward`, because MAE reaches the tokens past it."""
    height, width = images[0].shape[2:]
    assert isinstance(patches.patch_size, tuple)
    if height != width or height % patches.patch_size[0]:
        size = patches.patch_size[0]
        raise InputError(f"backbone.patch_size must divide square images into patches, got {size} for {height}x{width}")

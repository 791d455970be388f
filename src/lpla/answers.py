"""What an encoder answers to a query: embeddings of every view of every image, view-major.

View 0 is the clean image, view q > 0 is drawn from (seed, image, q): the same pixels for every encoder and batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from lpla.augment.apply import augment, clean
from lpla.contracts import Arch, Backbone
from lpla.evidence import Query

FORWARD = {"cpu": 64, "cuda": 1024}
"""Views per forward pass, always exactly: a kernel's summation order depends on the batch it is given, so the last,
incomplete one is filled with zeros (whose outputs are dropped) and no embedding depends on what it is batched with."""

Encode = Callable[[Float[Tensor, "B C H W"]], Mapping[str, Float[Tensor, "B *T D"]]]


def answers(
    arch: Arch, pixels: UInt8[Tensor, "B C H W"], index: Int[Tensor, " B"], query: Query
) -> dict[str, Float[Tensor, "V*B D"]]:
    """Embeddings by layer: first every image's first one, then every image's second, and so on.

    One per view; or, for positions, one per position of the clean image and then one per part, of the backbone alone.
    """
    if not query.positions:
        return encode_fixed(arch.encode, query_views(pixels, index, query))
    side = pixels.shape[-1]
    image = encode_fixed(lambda x: {"backbone": arch.backbone.positions(x, side)}, clean(pixels))["backbone"]
    parts = encode_fixed(lambda x: {"backbone": arch.backbone.part(x, side)}, _random_views(pixels, index, query))
    return {"backbone": torch.cat([image.transpose(0, 1).flatten(0, 1), parts["backbone"]])}


def check_positions(backbone: Backbone, channels: int, side: int, query: Query) -> None:
    """Raises UndefinedError if the backbone has no positions, or no parts of the size that `query` asks for."""
    training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        backbone.positions(torch.zeros(1, channels, side, side), side)
        backbone.part(torch.zeros(1, channels, *2 * (query.views.size or side,)), side)
    backbone.train(training)


def query_views(pixels: UInt8[Tensor, "B C H W"], index: Int[Tensor, " B"], query: Query) -> Float[Tensor, "Q*B C S S"]:
    """The views of a chunk, view-major: first every clean image, then every image's view 1, and so on."""
    whole = clean(pixels, query.views.size)
    return whole if query.queries == 1 else torch.cat([whole, _random_views(pixels, index, query)])


def encode_fixed(encode: Encode, views: Float[Tensor, "M C S S"]) -> dict[str, Float[Tensor, "M *T D"]]:
    """Embeddings by layer, computed in forward passes of one fixed size."""
    size = FORWARD[views.device.type]
    passes = []
    for block in views.split(size):
        full = F.pad(block, (0, 0, 0, 0, 0, 0, 0, size - len(block)))
        passes.append({layer: e[: len(block)] for layer, e in encode(full).items()})
    return {layer: torch.cat([p[layer] for p in passes]) for layer in passes[0]}


def _random_views(pixels: Tensor, index: Tensor, query: Query) -> Tensor:
    return torch.cat([augment(pixels, query.views, query.seed, index, q) for q in range(1, query.queries)])

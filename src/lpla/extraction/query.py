"""What an encoder answers to a query: embeddings of every view of every image, view-major.

View 0 is the clean image, view q > 0 is drawn from (seed, image, q): the same pixels for every encoder and batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from lpla.contracts.encoder import Backbone, Encoder
from lpla.contracts.evidence import Query
from lpla.data.augment.apply import augment, clean

QUERY_VERSION = 1
"""Raise it when a change here changes the embeddings."""
FORWARD = {"cpu": 64, "cuda": 1024}
"""Views per forward pass, always exactly: a kernel's summation order depends on the batch it is given, so the last,
incomplete one is filled with zeros (whose outputs are dropped) and no embedding depends on what it is batched with."""
LEVELS = 255
"""The largest value of 8 bits."""
MAKE = {"cpu": 128, "cuda": 4096}
"""Views made at once; a matter of speed alone: few enough for a CPU's cache, enough for an accelerator."""

Encode = Callable[[Float[Tensor, "B C H W"]], Mapping[str, Float[Tensor, "B *T D"]]]


@runtime_checkable
class Door(Protocol):
    """Record what goes into an encoder."""

    def take(self, views: Float[Tensor, "B C H W"]) -> None:
        """Record the views that the encoder gets next."""


def answers(
    encoder: Encoder,
    views: Sequence[Float[Tensor, "_M C _S _S"]],
    query: Query,
    side: int,
    door: Door | None = None,
) -> dict[str, Float[Tensor, "VB D"]]:
    """Compute the embeddings of the views, in their order.

    Args:
        encoder: The encoder.
        views: What `made` makes of the images.
        query: What is asked for.
        side: Side of the images in pixels.
        door: Is shown every view, as the encoder gets it; None: nothing is recorded.

    Returns:
        Layer -> an embedding per view; for positions one per position of the clean image, then one per part, of the
        backbone alone.
    """
    if not query.positions:
        encoder.expect(views[0])
        return encode_fixed(encoder.encode, views[0], door, encoder.full_batches)
    whole, parts = views
    image = encode_fixed(lambda x: {"backbone": encoder.positions(x, side)}, whole, door)["backbone"]
    part = encode_fixed(lambda x: {"backbone": encoder.part(x, side)}, parts, door)["backbone"]
    return {"backbone": torch.cat([image.transpose(0, 1).flatten(0, 1), part])}


def made(
    pixels: UInt8[Tensor, "B C H W"], index: Int[Tensor, " B"], query: Query, backend: str | None = None
) -> tuple[Float[Tensor, "_M C _S _S"], ...]:
    """Make what an encoder is shown of a chunk.

    Args:
        pixels: The images of a chunk.
        index: Their indices in the data set.
        query: What is asked for.
        backend: Of torch.compile, as of `augment`.

    Returns:
        All views at once, or, for positions, the clean images and their parts.
    """
    views = query_views(pixels, index, query, backend)
    return (clean(pixels), views[len(pixels) :]) if query.positions else (views,)


def check_positions(backbone: Backbone, channels: int, side: int, query: Query) -> None:
    """Check that a backbone has the positions that a query needs.

    Args:
        backbone: The backbone.
        channels: Number of channels of the images.
        side: Their side in pixels.
        query: What is asked for.

    Raises:
        UndefinedError: If the backbone has no positions, or no parts of that size.
    """
    training = backbone.training
    backbone.eval()
    with torch.inference_mode():
        backbone.positions(torch.zeros(1, channels, side, side), side)
        backbone.part(torch.zeros(1, channels, *2 * (query.views.size or side,)), side)
    backbone.train(training)


def query_views(
    pixels: UInt8[Tensor, "B C H W"], index: Int[Tensor, " B"], query: Query, backend: str | None = None
) -> Float[Tensor, "QB C S S"]:
    """Make the views of a chunk.

    Args:
        pixels: The images of a chunk.
        index: Their indices in the data set.
        query: What is asked for.
        backend: Of torch.compile, as of `augment`.

    Returns:
        The views, view-major: first every clean image, then every image's view 1, and so on.
    """
    whole, images = clean(pixels, query.views.size), len(pixels)
    # In the order in which convolutions read it, and that of the outputs of folded ones.
    shape = (query.queries * images, *whole.shape[1:])
    views = torch.empty(shape, device=pixels.device, memory_format=torch.channels_last)
    views[:images] = whole
    places = torch.arange(len(views), device=pixels.device)
    size = MAKE[pixels.device.type]
    for part, place in zip(*(x[images:].split(size) for x in (views, places)), strict=True):
        # A fused graph is that of one size.
        many = F.pad(place, (0, size - len(place))) if backend else place
        row = many % images
        part.copy_(augment(pixels[row], query.views, query.seed, index[row], many // images, backend)[: len(part)])
    return in_eight_bits(views) if query.eight_bit else views


def in_eight_bits(views: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Round values in [0, 1], in place, to the nearest multiples of 1/255, which image files hold as they are."""
    return views.mul_(LEVELS).round_().clamp_(0, LEVELS).div_(LEVELS)


def encode_fixed(
    encode: Encode, views: Float[Tensor, "M C S S"], door: Door | None = None, full: bool = True
) -> dict[str, Float[Tensor, "M *T D"]]:
    """Compute embeddings in forward passes of one fixed size.

    Args:
        encode: From views to embeddings by layer.
        views: The views.
        door: Is shown what is given to the encoder, without the filling; None: nothing is recorded.
        full: Whether the last pass is filled with zeros.

    Returns:
        Layer -> embeddings.
    """
    size = FORWARD[views.device.type]
    passes = []
    for block in views.split(size):
        filled = F.pad(block, (0, 0, 0, 0, 0, 0, 0, size - len(block))) if full and len(block) < size else block
        given = filled.contiguous(memory_format=torch.channels_last)
        if door is not None:
            door.take(given[: len(block)])
        found = encode(given)
        passes.append({layer: e[: len(block)] for layer, e in found.items()})
    return {layer: torch.cat([p[layer] for p in passes]) for layer in passes[0]}

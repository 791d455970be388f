"""What stored images show of how they were made: the features of the two-sample test on images.

Colours and contrast, traces of compression and resizing (steps across 8-pixel borders, coefficients of 8 x 8 blocks),
traces of a range of values (odd, extreme, distinct), and a coarse picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lpla.data.pixels import thumbnails

BLOCK, SIDE, AXES = 8, 8, 10
"""Side of JPEG's blocks, side of the thumbnails, and principal axes of these."""
BANDS, ZERO_BANDS = ((1, 3), (3, 5), (5, 7), (7, 9), (9, 11), (11, 13), (13, 15)), ((1, 4), (4, 7), (7, 10), (10, 15))
"""Ranges of the sum of both frequencies of a block's coefficient."""
NEARLY_ZERO = 0.5
"""Magnitude below which a coefficient is; that of a pixel's step is 1."""
SMALL = 1e-3
"""Added before a logarithm."""
_CHUNK = 1024
LUMA = (0.299, 0.587, 0.114)

Pixels = Float[Tensor, "n C H W"]
Grey = Float[Tensor, "n 1 H W"]
Columns = dict[str, Float[Tensor, " n"]]


def image_features(pixels: UInt8[np.ndarray, "N C H W"]) -> tuple[Float[np.ndarray, "N F"], tuple[str, ...]]:
    """Features of every image and their names; a feature that images of this size or colour do not have is 0."""
    parts = [_features(torch.from_numpy(pixels[i : i + _CHUNK])) for i in range(0, len(pixels), _CHUNK)]
    columns = {name: torch.cat([part[name] for part in parts]).double().numpy() for name in parts[0]}
    axes = _principal_axes(thumbnails(pixels, SIDE))
    columns |= {f"picture axis {i + 1}": axis for i, axis in enumerate(axes.T)}
    return np.column_stack(list(columns.values())), tuple(columns)


def _features(stored: UInt8[Tensor, "n C H W"]) -> Columns:
    x = stored.float()
    grey = _grey(x)
    found = {f"mean of channel {c + 1}": x[:, c].mean(dim=(1, 2)) for c in range(x.shape[1])}
    found |= {f"deviation of channel {c + 1}": x[:, c].std(dim=(1, 2), correction=0) for c in range(x.shape[1])}
    for name, axis in (("across", 3), ("down", 2)):
        steps = x.diff(dim=axis).abs()
        found |= {f"step {name}": _mean(steps), f"steps {name} at 8-pixel borders": _at_borders(steps, axis)}
    found |= {"laplacian": _laplacian(grey), "step of colour": _colour_step(x, grey)}
    return found | _coefficients(grey) | _values(stored) | {"left against right": _left_right(x)}


def _grey(x: Pixels) -> Grey:
    weights = torch.tensor(LUMA if x.shape[1] == len(LUMA) else [1 / x.shape[1]] * x.shape[1])
    return (x * weights[:, None, None]).sum(dim=1, keepdim=True)


def _mean(values: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    return values.flatten(1).mean(dim=1) if values[0].numel() else torch.zeros(len(values))


def _log(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return (values + SMALL).log()


def _at_borders(steps: Float[Tensor, "n C H W"], axis: int) -> Float[Tensor, " n"]:
    """Log ratio of the steps from one block into the next to those within blocks."""
    border = torch.arange(steps.shape[axis]) % BLOCK == BLOCK - 1
    if not border.any() or border.all():
        return torch.zeros(len(steps))
    at, within = (steps.index_select(axis, one.nonzero().flatten()) for one in (border, ~border))
    return _log(_mean(at)) - _log(_mean(within))


def _laplacian(grey: Grey) -> Float[Tensor, " n"]:
    if min(grey.shape[2:]) < 3:
        return torch.zeros(len(grey))
    centre = grey[..., 1:-1, 1:-1]
    around = grey[..., :-2, 1:-1] + grey[..., 2:, 1:-1] + grey[..., 1:-1, :-2] + grey[..., 1:-1, 2:]
    return _mean((4 * centre - around).abs())


def _colour_step(x: Pixels, grey: Grey) -> Float[Tensor, " n"]:
    """Log of the mean step of what is left of the channels without the grey."""
    colour = x - grey
    return _log(_mean(colour.diff(dim=3).abs()) + _mean(colour.diff(dim=2).abs()))


def _coefficients(grey: Grey) -> Columns:
    """Summarise the cosine transform of 8 x 8 blocks: log mean magnitude by band, and the share that is nearly zero."""
    height, width = (BLOCK * (side // BLOCK) for side in grey.shape[2:])
    frequency = torch.arange(BLOCK)[:, None] + torch.arange(BLOCK)
    reads: list[tuple[str, tuple[int, int], Callable[[Tensor], Tensor]]] = [
        *(("size of frequencies", band, lambda size: _log(_mean(size))) for band in BANDS),
        *(("zeros among frequencies", band, lambda size: _mean((size < NEARLY_ZERO).float())) for band in ZERO_BANDS),
    ]
    names = [f"{what} {low} to {high - 1}" for what, (low, high), _ in reads]
    if not height or not width:
        return {name: torch.zeros(len(grey)) for name in names}
    blocks = grey[..., :height, :width].unfold(2, BLOCK, BLOCK).unfold(3, BLOCK, BLOCK).flatten(1, 3)
    size = (_cosines() @ blocks @ _cosines().T).abs()
    masks = [(frequency >= low) & (frequency < high) for _, (low, high), _ in reads]
    return {name: read(size[..., mask]) for name, mask, (_, _, read) in zip(names, masks, reads, strict=True)}


def _cosines() -> Float[Tensor, "8 8"]:
    """The orthonormal cosine transform (type II), as JPEG's."""
    n = torch.arange(BLOCK)
    rows = torch.cos(math.pi * (2 * n + 1) * n[:, None] / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    rows[0] /= math.sqrt(2)
    return rows


def _values(stored: UInt8[Tensor, "n C H W"]) -> Columns:
    flat = stored.flatten(1)
    shifted = flat.long() + 256 * torch.arange(len(flat))[:, None]
    counts = torch.bincount(shifted.flatten(), minlength=256 * len(flat)).view(-1, 256)
    share = counts / flat.shape[1]
    return {
        "odd values": share[:, 1::2].sum(dim=1),
        "values of 254 and 255": share[:, 254:].sum(dim=1),
        "values of 0 and 1": share[:, :2].sum(dim=1),
        "distinct values": (counts > 0).sum(dim=1).float(),
    }


def _left_right(x: Pixels) -> Float[Tensor, " n"]:
    half = x.shape[3] // 2
    return _mean(x[..., :half]) - _mean(x[..., x.shape[3] - half :])


def _principal_axes(thumbs: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N a"]:
    centred = thumbs.astype(np.float64) - thumbs.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, ::-1][:, :AXES]

"""What images tell without any encoder: summaries for blind baselines, thumbnails as features."""

from __future__ import annotations

import zlib

import numpy as np
from jaxtyping import Float, Float32, UInt8
from torch import from_numpy
from torch.nn import functional as F

SUMMARIES = ("l2_norm", "mean", "deviation", "entropy", "compressed_size")
_CHUNK = 4096
"""Images turned into floating-point numbers at a time; a matter of memory, not of results."""


def summaries(pixels: UInt8[np.ndarray, "N C H W"]) -> Float[np.ndarray, "N 5"]:
    """The columns of `SUMMARIES`: norm, mean and deviation of the values, bits per value, bytes after deflate."""
    return np.concatenate([_summaries(pixels[i : i + _CHUNK]) for i in range(0, len(pixels), _CHUNK)])


def _summaries(pixels: UInt8[np.ndarray, "n C H W"]) -> Float[np.ndarray, "n 5"]:
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1)
    total = flat.sum(axis=1, dtype=np.int64)
    squares = np.einsum("nf,nf->n", flat, flat, dtype=np.int64)
    mean = total / flat.shape[1]
    deviation = np.sqrt(np.maximum(squares / flat.shape[1] - mean**2, 0.0))
    size = np.array([len(zlib.compress(one.data, 1)) for one in flat])
    return np.column_stack([np.sqrt(squares), mean, deviation, _entropy(flat), size]).astype(np.float64)


def _entropy(flat: UInt8[np.ndarray, "n F"]) -> Float[np.ndarray, " n"]:
    shifted = flat + 256 * np.arange(len(flat))[:, None]
    counts = np.bincount(shifted.ravel(), minlength=256 * len(flat)).reshape(len(flat), 256)
    part = counts / flat.shape[1]
    return -(part * np.log2(part, out=np.zeros_like(part), where=part > 0)).sum(axis=1)


def thumbnails(pixels: UInt8[np.ndarray, "N C H W"], side: int = 8) -> Float32[np.ndarray, "N F"]:
    """Every image averaged down to `side` x `side` values per channel, in [0, 1]; smaller images stay as they are."""
    side = min(side, *pixels.shape[2:])
    parts = (from_numpy(np.array(pixels[i : i + _CHUNK])).float() for i in range(0, len(pixels), _CHUNK))
    return np.concatenate([F.adaptive_avg_pool2d(part, side).flatten(1).numpy() / 255 for part in parts])

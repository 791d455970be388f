"""Hashes of images: of their bytes, for exact copies, and of their look, for near ones.

Source of the look: the DCT hash of pHash (Zauner 2010): grey, 32 x 32, the 8 x 8 lowest frequencies by their median.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8, UInt64
from scipy.fft import dct
from torch import Tensor
from torch.nn.functional import interpolate

SIDE, LOW = 32, 8
MIRROR = np.array([1, -1] * (LOW // 2), dtype=np.float32)
LUMA = (0.299, 0.587, 0.114)
"""Rec. 601, as PIL's conversion to grey."""
PIECE = 2**24
"""Bytes of pixels that are hashed together, so that a memory map is never in memory as a whole."""


def content_groups(pixels: UInt8[Tensor, "N C H W"]) -> Int[np.ndarray, " N"]:
    """For every image the smallest index with the same bytes."""
    first: dict[bytes, int] = {}
    found = np.empty(len(pixels), dtype=np.int64)
    for start, piece in pieces(pixels):
        for i, image in enumerate(piece, start):
            found[i] = first.setdefault(hashlib.blake2b(image, digest_size=16).digest(), i)
    return found


def look_hashes(pixels: UInt8[Tensor, "N C H W"]) -> UInt64[np.ndarray, "2 N"]:
    """64 bits for every image and for its mirror image: which of its low frequencies exceed the median of them.

    Neither brightness nor contrast changes a bit.
    """
    rows, columns = (_frequencies(side) for side in pixels.shape[2:])
    found = np.empty((2, len(pixels)), dtype=np.uint64)
    for start, piece in pieces(pixels):
        low = rows @ _grey(piece) @ columns.T
        # In a mirror the odd frequencies along a row change their sign.
        for hashes, seen in zip(found, (low, low * MIRROR), strict=True):
            flat = seen.reshape(len(piece), LOW * LOW)
            # The mean (the first of them) says how bright an image is, not how it looks.
            bits = flat > np.median(flat[:, 1:], axis=1, keepdims=True)
            hashes[start : start + len(piece)] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    return found


def pieces(pixels: UInt8[Tensor, "N C H W"]) -> Iterator[tuple[int, UInt8[np.ndarray, "n C H W"]]]:
    """Consecutive parts of the images with the index of their first one."""
    count = max(1, PIECE // max(1, pixels.shape[1:].numel()))
    for start in range(0, len(pixels), count):
        yield start, np.ascontiguousarray(pixels[start : start + count].numpy())


def _grey(images: UInt8[np.ndarray, "n C H W"]) -> Float32[np.ndarray, "n H W"]:
    if images.shape[1] != len(LUMA):
        return images.mean(axis=1, dtype=np.float32)
    grey = np.zeros((len(images), *images.shape[2:]), dtype=np.float32)
    for channel, weight in enumerate(LUMA):
        grey += np.float32(weight) * images[:, channel]
    return grey


def _frequencies(side: int) -> Float32[np.ndarray, "8 side"]:
    """Resizing to 32 pixels (antialiased bilinear) and the cosine transform after it, as one matrix."""
    impulses = torch.eye(side).view(side, 1, 1, side)
    resized = interpolate(impulses, size=(1, SIDE), mode="bilinear", antialias=True)[:, 0, 0].T.numpy()
    return (dct(np.eye(SIDE), axis=0, norm="ortho")[:LOW] @ resized).astype(np.float32)

"""Views as the bytes that a service is sent: PNG files, which lose nothing and are the same by every release of zlib.

The pixels stand uncompressed in them. What a library compresses may change with its version, and with it the SHA-256 by
which answers are kept, which were paid for.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR = 0, 2
"""Colour types of PNG, by the number of channels."""
LARGEST = 65_535
"""Bytes of an uncompressed block of deflate (RFC 1951, section 3.2.4)."""


def eight_bits(x: Float[Tensor, "B C H W"]) -> UInt8[np.ndarray, "B H W C"]:
    """Images in [0, 1] as whole numbers from 0 to 255, the channels last."""
    return (x * 255).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def png(pixels: UInt8[np.ndarray, "H W C"]) -> bytes:
    """The PNG file of one image of one channel or three."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, GREY if channels == 1 else COLOUR, 0, 0, 0)
    # Each row begins with its filter, of which 0 is none.
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", _stored(rows.tobytes())) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stored(data: bytes) -> bytes:
    """A zlib stream (RFC 1950) of blocks that are not compressed."""
    blocks = [data[start : start + LARGEST] for start in range(0, len(data), LARGEST)]
    framed = [
        struct.pack("<BHH", one is blocks[-1], len(one), len(one) ^ 0xFFFF) + one for one in blocks
    ]  # fmt: skip
    return b"\x78\x01" + b"".join(framed) + struct.pack(">I", zlib.adler32(data))

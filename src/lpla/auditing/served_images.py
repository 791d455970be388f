"""Images as the clients of embedding services send them: files of 8 bits in base64, or data URIs."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from lpla.contracts.inputs import InputError

MOST_PIXELS = 2**26
"""Pixels, at most, of an image that is read: a small file may say that it is a huge image."""
MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr")
"""Pillow's names of what is no more than 8 bits a channel and has no transparent parts."""


def image_of(sent: str | Mapping[str, str], name: str) -> Float[Tensor, "C H W"]:
    """Return the values of an image of a request.

    Args:
        sent: base64 or a data URI, or an object that has either as its `image`.
        name: what a message calls it.

    Returns:
        Values in [0, 1], of one channel if the image is grey, else RGB.

    Raises:
        InputError: it is none; an address is none, as nothing is fetched.
    """
    if not isinstance(sent, str):
        if set(sent) != {"image"}:
            raise InputError(f"{name} must be an image, or an object with image alone, got {', '.join(sent)}")
        sent = sent["image"]
    head, comma, body = sent.partition(",")
    kinds = "an image file in base64, or a data URI of one (data:image/png;base64,...)"
    if comma and not (head.startswith("data:") and head.endswith(";base64")):
        raise InputError(f"{name} must be {kinds}, got a text with a comma in it")
    try:
        data = base64.b64decode(body if comma else sent, validate=True)
    except binascii.Error as unreadable:
        address = "; an address is not fetched" if "://" in sent else ""
        raise InputError(f"{name} must be {kinds}, got a text that is not base64{address}") from unreadable
    return read_image(data, name)


def read_image(data: bytes, name: str) -> Float[Tensor, "C H W"]:
    """Return the values in [0, 1] of an image file; arguments, result and errors are those of `image_of`.

    Transparent parts are refused, as nobody says what is behind them.
    """
    must = f"{name} must be an image file of 8 bits a channel without transparency"
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MOST_PIXELS:
                size = f"{image.width} x {image.height}"
                raise InputError(f"{name} must be an image of at most {MOST_PIXELS} pixels, got {size}")
            if image.has_transparency_data or image.mode not in MODES:
                raise InputError(f"{must}, got {image.format} of mode {image.mode}")
            pixels = np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as unreadable:
        if isinstance(unreadable, InputError):
            raise
        raise InputError(f"{must}, got {len(data)} bytes that cannot be read as one") from unreadable
    values = torch.from_numpy(pixels if pixels.ndim == 3 else pixels[..., None])
    return values.permute(2, 0, 1).float() / 255

"""A small encoder in numpy, which a server answers with and which an audit can call without one."""

import numpy as np

WIDTH, HIDDEN = 16, 32


def encode(images: np.ndarray) -> np.ndarray:
    """Embeddings [B, WIDTH] in single precision of images [B, H, W, C] with values from 0 to 255."""
    flat = np.asarray(images, dtype=np.float32).reshape(len(images), -1) / np.float32(255)
    draw = np.random.default_rng(0)
    first = draw.standard_normal((flat.shape[1], HIDDEN)).astype(np.float32)
    second = draw.standard_normal((HIDDEN, WIDTH)).astype(np.float32)
    # Image by image, so that no sum depends on what else is in a batch.
    return np.stack([np.maximum(one @ first, 0) @ second for one in flat])


def of_eight_bits(x):
    """For target=python: what a service answers to images in [0, 1] that are sent with 8 bits."""
    import torch

    pixels = (x * 255).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    return torch.from_numpy(encode(pixels))


def of_floats(x):
    """For target=python: what a service answers to images in [0, 1] that are sent as they are."""
    import torch

    return torch.from_numpy(encode(x.permute(0, 2, 3, 1).numpy() * np.float32(255)))

"""Noise on embeddings, as a function of the owner's secret and of what was asked: whatever else is in the batch."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lpla.contracts.streams import stream

NOISE_VERSION = 1
"""Raise it when a change here changes what is released."""


def noisy(
    embedding: Float[Tensor, "B D"], sigma: float, layer: str, secret: int, which: Int[Tensor, "B K"]
) -> Float[Tensor, "B D"]:
    """Return each row z as z + sigma |z| e, where the coordinates of e are normal with deviation 1 / sqrt(D).

    Args:
        embedding: the rows.
        sigma: length of the noise as a part of the row's.
        layer: each layer has noise of its own.
        secret: the owner's.
        which: rows of equal numbers have the same noise.
    """
    width = embedding.shape[1]
    rows, place = torch.unique(which, dim=0, return_inverse=True)
    drawn = [stream(f"noise on {layer}", secret, *row).standard_normal(width) for row in rows.tolist()]
    normal = torch.from_numpy(np.stack(drawn)).to(embedding) / math.sqrt(width)
    length = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
    return embedding + sigma * length * normal[place.to(embedding.device)]

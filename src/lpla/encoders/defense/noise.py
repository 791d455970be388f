"""Add noise that is the same for every query of an image, so that queries do not average it away (ours)."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import NonNegative, checked
from lpla.contracts.streams import stream

NOISE_VERSION = 1
"""Raise it when a change here changes what is released."""


@checked
class Noise(Defense):
    """Releases an embedding plus `sigma` times its length times noise of an expected squared length of 1.

    The noise is drawn by the owner's secret and the image, whichever view of it is asked about: the owner knows an
    image behind its views, which is the best that such a defence can do. Where each view passes for an image of its own
    the noise is that of `noise_fresh`.
    """

    release_arguments: ClassVar[frozenset[str]] = frozenset({"sigma"})

    def __init__(self, *, sigma: NonNegative = 0.1) -> None:
        self.sigma = sigma

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B D"]:
        """Return the noisy embedding."""
        return noisy(embedding, self.sigma, asked.layer, asked.secret, asked.image[:, None])


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

    Returns:
        The rows with their noise.
    """
    width = embedding.shape[1]
    rows, place = torch.unique(which, dim=0, return_inverse=True)
    drawn = [stream(f"noise on {layer}", secret, *row).standard_normal(width) for row in rows.tolist()]
    normal = torch.from_numpy(np.stack(drawn)).to(embedding) / math.sqrt(width)
    length = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
    return embedding + sigma * length * normal[place.to(embedding.device)]

"""Means over what is known of an image, where some of its views are not usable."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def mean_of_known(x: Float[np.ndarray, "N Q *P"], known: Bool[np.ndarray, "N Q *K"]) -> Float[np.ndarray, "N *P"]:
    """Mean over the second axis where `known` (which may be the same for every P); nan where nothing is."""
    count = known.sum(axis=1)
    total = np.where(known, x, 0.0).sum(axis=1, dtype=np.float64)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

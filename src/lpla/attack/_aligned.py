"""Vectors of encoders that share no basis, in one frame: whitened principal axes, rotated onto those of another encoder.

Two encoders that agree up to any invertible linear map agree after whitening up to a rotation, which is found on the
images that both embed (orthogonal Procrustes, Schoenemann 1966). No label enters.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import eigh

SAMPLE = 5_000
"""Images from which principal axes are taken, at most."""
FLOOR = 1e-8
"""Part of the largest variance below which an axis is empty: it gives 0, not its magnified rounding noise."""


def usable_rows(x: Float[np.ndarray, "N D"]) -> Bool[np.ndarray, " N"]:
    """Whether each embedding is finite and not zero."""
    return np.isfinite(x).all(axis=1) & x.any(axis=1)


def whiten(
    x: Float[np.ndarray, "N D"], usable: Bool[np.ndarray, " N"], dimensions: int
) -> Float[np.ndarray, "N d"]:
    """The leading min(dimensions, D) principal coordinates of the usable rows, each of variance 1; 0 for the others."""
    width = x.shape[1]
    kept = min(dimensions, width)
    rows = np.random.default_rng(0).permutation(np.flatnonzero(usable))[:SAMPLE]
    if len(rows) < 2:
        return np.zeros((len(x), kept))
    sample = x[rows].astype(np.float64)
    mean = sample.mean(axis=0)
    sample -= mean
    covariance = sample.T @ sample / (len(rows) - 1)
    variance, axes = eigh(covariance, subset_by_index=(width - kept, width - 1))
    full = variance > FLOOR * variance[-1]
    axes = np.where(full, axes / np.sqrt(np.where(full, variance, 1.0)), 0.0)
    centred = np.where(usable[:, None], x, mean.astype(x.dtype)) - mean.astype(x.dtype)
    return (centred @ axes.astype(x.dtype)).astype(np.float64)


def rotation_onto(
    reference: Float[np.ndarray, "N d"], z: Float[np.ndarray, "N d"]
) -> tuple[Float[np.ndarray, "d d"], float]:
    """The rotation R that brings z R closest to the reference, and how close: the mean correlation per axis."""
    left, shared, right = np.linalg.svd(z.T @ reference)
    scale = np.sqrt((z**2).sum() * (reference**2).sum())
    return left @ right, float(shared.sum() / scale) if scale > 0 else 0.0

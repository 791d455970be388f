"""Vectors in whitened principal axes, and the rotation between two encoders' axes.

Two encoders that agree up to an invertible linear map agree after whitening up to a rotation, which is found on images
that both embed (orthogonal Procrustes, Schoenemann 1966). No label enters.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import eigh

from lpla.contracts.inputs import stream

SAMPLE = 2_000
"""Vectors from which the axes are taken, at most; of more, some are drawn by a fixed seed."""
EMPTY = 1e-8
"""Part of the largest variance below which an axis is empty: it gives 0, not its magnified rounding noise."""


class Whitening:
    """The leading min(`dimensions`, D) principal coordinates, each of variance 1. Fitted: `mean_`, `axes_`."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def fit(self, x: Float[np.ndarray, "N D"], usable: Bool[np.ndarray, " N"]) -> Self:
        """Learn the axes of the usable rows; without two of them every axis is empty."""
        rows = stream("whitening sample", 0).permutation(np.flatnonzero(usable))[:SAMPLE]
        width = x.shape[1]
        kept = min(self.dimensions, width)
        self.mean_, self.axes_ = np.zeros(width), np.zeros((width, kept))
        if len(rows) > 1:
            sample = x[rows].astype(np.float64)
            self.mean_ = sample.mean(axis=0)
            sample -= self.mean_
            variance, axes = eigh(sample.T @ sample / (len(rows) - 1), subset_by_index=(width - kept, width - 1))
            full = variance > EMPTY * variance[-1]
            self.axes_[:, full] = axes[:, full] / np.sqrt(variance[full])
        return self

    def project(self, x: Float[np.ndarray, "N D"], usable: Bool[np.ndarray, " N"]) -> Float[np.ndarray, "N d"]:
        """The coordinates, computed in the precision of x; 0 for a row that is not usable."""
        with np.errstate(invalid="ignore", over="ignore"):
            z = (x - self.mean_.astype(x.dtype)) @ self.axes_.astype(x.dtype)
        return np.where(usable[:, None], z, 0.0).astype(np.float64)


def rotation_onto(
    reference: Float[np.ndarray, "N d"], z: Float[np.ndarray, "N d"]
) -> tuple[Float[np.ndarray, "d d"], float]:
    """The rotation R that brings z R closest to the reference, and how close: their correlation then."""
    left, shared, right = np.linalg.svd(z.T @ reference)
    scale = np.sqrt((z**2).sum() * (reference**2).sum())
    return left @ right, float(shared.sum() / scale) if scale > 0 else 0.0

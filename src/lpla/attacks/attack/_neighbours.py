"""Which images are alike in the eyes of encoders, as the sparse weights that collective inference sums over."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.sparse import csr_array
from sklearn.neighbors import NearestNeighbors

from lpla.contracts.streams import stream

NEAREST = 20
"""Neighbours of an image that count."""
TEMPERATURE = 0.2
"""Difference of cosine by which a neighbour's weight falls to 1/e."""
MANY_IMAGES, FEW_AXES, SEVERAL = 5_000, 128, 4
"""Of more images than these, neighbours are looked for in a random projection onto so many axes; and where there are
so many shadows, one more encoder hardly changes them: they are looked for once, and the target is weighed in."""
ROWS = 64
"""Images whose similarities are computed at once: few, so that their neighbours' directions stay in the cache."""


def kernel_of(
    shadows: Sequence[Float32[np.ndarray, "N D"]], target: Float32[np.ndarray, "N D"] | None = None
) -> csr_array:
    """Return W: weights exp((G - 1)/T) of every image's nearest others, rows of sum 1.

    G is the mean over encoders of the cosine of two images' directions. Kept for the last few sets of encoders, as an
    audit asks for the same kernel under every permutation of the memberships.

    Args:
        shadows: of each shadow, the unit vector of every image, or the zero vector.
        target: The same of the target, where it is known.

    Returns:
        A sparse matrix, `NEAREST` weights in each row, or one less than there are images.
    """
    return _kernel_of(tuple(map(_SameArray, shadows)), None if target is None else _SameArray(target))


class _SameArray:
    """An array that equals itself alone; holds it, so that no other can take its place."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameArray) and self.array is other.array


@lru_cache(maxsize=4)
def _kernel_of(shadows: tuple[_SameArray, ...], target: _SameArray | None) -> csr_array:
    images = len(shadows[0].array)
    if min(NEAREST, images - 1) < 1:
        return csr_array((images, images))
    if target is None:
        nearest, cosines = _alike(shadows)
    elif images > MANY_IMAGES and len(shadows) >= SEVERAL:
        nearest, of_shadows = _alike(shadows)
        cosines = of_shadows + _cosines(target.array, nearest)
    else:
        nearest, cosines = _alike((*shadows, target))
    weight = np.exp((cosines / (len(shadows) + (target is not None)) - 1) / TEMPERATURE)
    weight /= weight.sum(axis=1, keepdims=True)
    starts = np.arange(0, nearest.size + 1, nearest.shape[1])
    kernel = csr_array((weight.ravel(), nearest.ravel(), starts), (images, images), copy=True)
    # Else scipy sorts them when it comes to need that, and the sums of later calls have another order; what it sorts is
    # a copy, as `_alike` keeps its arrays.
    kernel.sort_indices()
    return kernel


@lru_cache(maxsize=4)
def _alike(held: tuple[_SameArray, ...]) -> tuple[Int[np.ndarray, "N n"], Float[np.ndarray, "N n"]]:
    """Every image's nearest others, and the exact sums over the encoders of their cosines."""
    directions = [np.asarray(one.array) for one in held]
    nearest = _nearest(directions, min(NEAREST, len(directions[0]) - 1))
    found = np.zeros(nearest.shape)
    for one in directions:
        found += _cosines(one, nearest)
    return nearest, found


def _nearest(directions: Sequence[Float32[np.ndarray, "N D"]], count: int) -> Int[np.ndarray, "N n"]:
    """Each image's nearest others: side by side, all encoders' directions have the mean cosine as theirs."""
    width = sum(one.shape[1] for one in directions)
    if len(directions[0]) > MANY_IMAGES and width > FEW_AXES:
        together = np.zeros((len(directions[0]), FEW_AXES), dtype=np.float32)
        for number, one in enumerate(directions):  # the sum of their projections is that of all side by side
            random = stream("directions", 0, number).standard_normal((one.shape[1], FEW_AXES), dtype=np.float32)
            together += one @ random
    else:
        together = np.concatenate(directions, axis=1)
    return NearestNeighbors(n_neighbors=count, algorithm="brute").fit(together).kneighbors(return_distance=False)


def _cosines(one: Float32[np.ndarray, "N D"], nearest: Int[np.ndarray, "N n"]) -> Float[np.ndarray, "N n"]:
    """The cosines of every image and its neighbours by one encoder."""
    found = np.zeros(nearest.shape)
    for first in range(0, len(nearest), ROWS):
        rows = slice(first, first + ROWS)
        found[rows] = np.matmul(one[nearest[rows]], one[rows, :, None])[..., 0]
    return found

"""Which images are alike in the eyes of encoders, as the sparse weights that collective inference sums over."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from scipy.sparse import csr_array

from lpla.attacks.attack._threads import each, pieces
from lpla.contracts.streams import stream

NEAREST = 20
"""Neighbours of an image that count."""
TEMPERATURE = 0.2
"""Difference of cosine by which a neighbour's weight falls to 1/e."""
MANY_IMAGES, FEW_AXES, SEVERAL = 5_000, 128, 4
"""Of more images than these, neighbours are looked for in a random projection onto so many axes; and where there are
so many shadows, one more encoder hardly changes them: they are looked for once, and the target is weighed in."""
ROWS = 128
"""Images that are projected, or compared with all others, at once."""
GROUP = 16
"""Images of which the most similar alone is compared first, where the nearest are sought."""


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
        nearest, _, cosines = _alike(shadows)
    elif images > MANY_IMAGES and len(shadows) >= SEVERAL:
        nearest, pairs, of_shadows = _alike(shadows)
        cosines = of_shadows + pairs.cosines([target.array])
    else:
        nearest, _, cosines = _alike((*shadows, target))
    weight = np.exp((cosines / (len(shadows) + (target is not None)) - 1) / TEMPERATURE)
    weight /= weight.sum(axis=1, keepdims=True)
    starts = np.arange(0, nearest.size + 1, nearest.shape[1])
    kernel = csr_array((weight.ravel(), nearest.ravel(), starts), (images, images), copy=True)
    # Else scipy sorts them when it comes to need that, and the sums of later calls have another order; what it sorts is
    # a copy, as `_alike` keeps its arrays.
    kernel.sort_indices()
    return kernel


@lru_cache(maxsize=4)
def _alike(held: tuple[_SameArray, ...]) -> tuple[Int[np.ndarray, "N n"], _Pairs, Float[np.ndarray, "N n"]]:
    """Every image's nearest others, the pairs that they are, and the exact sums over the encoders of their cosines."""
    directions = [np.asarray(one.array) for one in held]
    nearest = _nearest(directions, min(NEAREST, len(directions[0]) - 1))
    pairs = _Pairs(nearest)
    return nearest, pairs, pairs.cosines(directions)


def _nearest(directions: Sequence[Float32[np.ndarray, "N D"]], count: int) -> Int[np.ndarray, "N n"]:
    """Each image's nearest others: side by side, all encoders' directions have the mean cosine as theirs."""
    images, width = len(directions[0]), sum(one.shape[1] for one in directions)
    if images > MANY_IMAGES and width > FEW_AXES:
        return _nearest_rows(_projected(directions), count)
    return _nearest_rows(np.concatenate(directions, axis=1), count)


def _projected(directions: Sequence[Float32[np.ndarray, "N D"]]) -> Float32[np.ndarray, "N d"]:
    """On random axes: the sum of the encoders' projections is that of all directions side by side."""
    axes = [
        stream("directions", 0, number).standard_normal((one.shape[1], FEW_AXES), dtype=np.float32)
        for number, one in enumerate(directions)
    ]
    together = np.zeros((len(directions[0]), FEW_AXES), dtype=np.float32)

    def add(rows: slice) -> None:
        for one, random in zip(directions, axes, strict=True):
            together[rows] += one[rows] @ random

    each(add, pieces(len(together), ROWS))
    return together


def _nearest_rows(x: Float32[np.ndarray, "N d"], count: int) -> Int[np.ndarray, "N n"]:
    """Each row's nearest others by Euclidean distance, in ascending order of their numbers.

    The nearest row y has the largest x y - |y|^2 / 2. Among groups of rows, one of the `count` with the largest maxima
    holds each of the `count` nearest, so that little is sorted.
    """
    size = max(1, min(GROUP, len(x) // count))
    groups = -(-len(x) // size)
    others = np.zeros((groups * size, x.shape[1] + 1), dtype=np.float32)
    others[: len(x), :-1] = x
    others[:, -1] = -np.inf  # of rows that only fill the last group
    others[: len(x), -1] = -0.5 * np.einsum("nd,nd->n", x, x)
    found = np.empty((len(x), count), dtype=np.int64)

    def search(rows: slice) -> None:
        ones = np.ones((rows.stop - rows.start, 1), dtype=np.float32)
        near = np.concatenate([x[rows], ones], axis=1) @ others.T
        near[np.arange(len(near)), np.arange(rows.start, rows.stop)] = -np.inf  # not itself
        found[rows] = _largest(near, groups, count)

    each(search, pieces(len(x), ROWS))
    return found


def _largest(near: Float32[np.ndarray, "n N"], groups: int, count: int) -> Int[np.ndarray, "n count"]:
    """The columns of every row's largest values, ascending; column g, g + groups, ... are group g."""
    members = near.reshape(len(near), -1, groups)
    best = np.argpartition(members.max(axis=1), groups - count, axis=1)[:, None, groups - count :]
    column = (best + groups * np.arange(members.shape[1])[:, None]).reshape(len(near), -1)
    value = np.take_along_axis(near, column, axis=1)
    chosen = np.argpartition(value, value.shape[1] - count, axis=1)[:, value.shape[1] - count :]
    return np.sort(np.take_along_axis(column, chosen, axis=1), axis=1)


class _Pairs:
    """The pairs of an image and a neighbour; two images that are each other's neighbours are one pair."""

    def __init__(self, nearest: Int[np.ndarray, "N n"]) -> None:
        images = len(nearest)
        image = np.repeat(np.arange(images), nearest.shape[1])
        lower, higher = np.minimum(image, nearest.ravel()), np.maximum(image, nearest.ravel())
        pairs, place = np.unique(lower * images + higher, return_inverse=True)
        self._place = place.reshape(nearest.shape)
        starts = np.searchsorted(pairs, images * np.arange(images + 1))
        with _silenced():
            self._pattern = torch.sparse_csr_tensor(
                torch.from_numpy(starts),
                torch.from_numpy(pairs % images),
                torch.zeros(len(pairs)),
                (images, images),
                check_invariants=False,
            )

    def cosines(self, encoders: Iterable[Float32[np.ndarray, "N D"]]) -> Float[np.ndarray, "N n"]:
        """Sums over the encoders of the cosines of every image and its neighbours, each pair's computed once."""
        found = np.zeros(self._pattern.values().shape)
        for one in encoders:
            with _silenced():
                directions = torch.from_numpy(np.ascontiguousarray(one))
                found += torch.sparse.sampled_addmm(self._pattern, directions, directions.T, beta=0.0).values().numpy()
        return found[self._place]


@contextmanager
def _silenced() -> Iterator[None]:
    """Without torch's remarks that sparse matrices are new, and that an array of a file must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support|The given NumPy array is not writable")
        yield

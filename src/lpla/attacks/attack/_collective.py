"""Collective inference: an image that was never trained on looks like a member if images like it were (ours).

x_kif = b_if + M_ki d_if + g_f z_ki + e, z_ki = sum_j W_ij M_kj less its mean over i: the part of an image's neighbours
that encoder k was trained on. Shadows teach g, and the target's z comes from its own posterior, in a few rounds. Two
things are essential, as measured: z is centred (else a broad kernel flips all signs), and no evidence flows back from
an image's neighbours beyond z.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.sparse import csr_array
from scipy.special import expit
from sklearn.neighbors import NearestNeighbors
from sklearn.random_projection import GaussianRandomProjection

from lpla.attacks.attack._bank_columns import MANY_SHADOWS
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.attacks.likelihood.crossed import Combined, Crossed

NEAREST = 20
"""Neighbours of an image that count."""
TEMPERATURE = 0.2
"""Difference of cosine by which a neighbour's weight falls to 1/e."""
ROUNDS = 3
MANY_IMAGES, FEW_AXES = 5_000, 128
"""From so many images on, neighbours are looked for in a random projection onto so many axes."""
ROWS = 1_024
"""Images whose similarities are computed at once."""


class Collective:
    """Weighs the standardised statistics of a bank, corrected for who else was a member.

    `likelihood` is `combined`, which is `Crossed` below 4 shadows, or `crossed`. `kernel` is W, row i the weights of
    image i's neighbours; it holds no label.
    """

    def __init__(self, likelihood: str, kernel: csr_array) -> None:
        self.likelihood, self.kernel = likelihood, kernel

    def fit(self, x: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn g, the weights and the likelihood from the shadows."""
        shadows = len(x)
        z = np.stack([self._company(row.astype(float)) for row in inside])
        influence = _influence(x, inside.astype(float), z)
        corrected = x - z[..., None] * influence
        self._ratio = LinearRatio(per_sample=shadows >= MANY_SHADOWS).fit(corrected, inside)
        self._influence = float(influence @ self._ratio.direction_)
        times = inside.sum(axis=0)
        own_noise = shadows >= MANY_SHADOWS and bool(np.all((times > 0) & (times < shadows)))
        model = Combined() if self.likelihood == "combined" and own_noise else Crossed()
        self.model_ = model.fit(self._ratio.project(corrected), inside)
        self.D_ = self.model_.D_
        return self

    def score(self, x0: Float[np.ndarray, "N F"]) -> Float[np.ndarray, " N"]:
        """log p(seen | in) - log p(seen | out) of every image, given what is inferred of its neighbours."""
        value, g = self._ratio.project(x0), self._influence
        log_ratio, squared_weights = self.model_.given(value), self.kernel.power(2)
        probability, found = np.full(len(value), 0.5), np.zeros(len(value))
        for _ in range(ROUNDS):
            uncertain = g * g * (squared_weights @ (probability * (1 - probability)))
            found = log_ratio(value - g * self._company(probability), uncertain)
            probability = expit(found)
        return found

    def _company(self, inside: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """z, the part of every image's neighbours that was inside, less the mean over images."""
        part = self.kernel @ inside
        return part - part.mean()


def _influence(
    x: Float[np.ndarray, "K N F"], inside: Float[np.ndarray, "K N"], z: Float[np.ndarray, "K N"]
) -> Float[np.ndarray, " F"]:
    """g of every statistic by least squares on M and z, within images where there are several shadows."""
    axis = 0 if len(x) > 1 else (0, 1)
    x, inside, z = (one - one.mean(axis=axis, keepdims=True) for one in (x, inside, z))
    causes = np.stack([inside.ravel(), z.ravel()], axis=1)
    return np.linalg.lstsq(causes, x.reshape(-1, x.shape[2]), rcond=None)[0][1]


def kernel_of(directions: Sequence[Float32[np.ndarray, "N D"]]) -> csr_array:
    """W: weights exp((G - 1)/T) of every image's nearest others, rows of sum 1.

    G is the mean over encoders of the cosine of two images' directions. Kept for the last few sets of encoders, as an
    audit asks for the same kernel under every permutation of the memberships.

    Args:
        directions: of each encoder, the unit vector of every image, or the zero vector.

    Returns:
        A sparse matrix, `NEAREST` weights in each row, or one less than there are images.
    """
    return _kernel_of(tuple(map(_SameArray, directions)))


class _SameArray:
    """An array that equals itself alone; holds it, so that no other can take its place."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameArray) and self.array is other.array


@lru_cache(maxsize=4)
def _kernel_of(held: tuple[_SameArray, ...]) -> csr_array:
    directions = [np.asarray(one.array) for one in held]
    images = len(directions[0])
    count = min(NEAREST, images - 1)
    if count < 1:
        return csr_array((images, images))
    nearest = _nearest(directions, count)
    weight = np.exp((_similarity(directions, nearest) - 1) / TEMPERATURE)
    weight /= weight.sum(axis=1, keepdims=True)
    starts = np.arange(0, images * count + 1, count)
    kernel = csr_array((weight.ravel(), nearest.ravel(), starts), (images, images))
    # Else scipy sorts them when it comes to need that, and the sums of later calls have another order.
    kernel.sort_indices()
    return kernel


def _nearest(directions: Sequence[Float32[np.ndarray, "N D"]], count: int) -> np.ndarray:
    """Each image's nearest others: side by side, all encoders' directions have the mean cosine as theirs."""
    together = np.concatenate(directions, axis=1)
    if len(together) > MANY_IMAGES and together.shape[1] > FEW_AXES:
        count_of_axes: Any = FEW_AXES  # scikit-learn's stub knows the default, a word, alone
        together = GaussianRandomProjection(count_of_axes, random_state=0).fit_transform(together)
    return NearestNeighbors(n_neighbors=count, algorithm="brute").fit(together).kneighbors(return_distance=False)


def _similarity(directions: Sequence[Float32[np.ndarray, "N D"]], nearest: np.ndarray) -> Float[np.ndarray, "N n"]:
    """G of every image and its neighbours, exactly."""
    found = np.zeros(nearest.shape)
    for one in directions:
        for first in range(0, len(nearest), ROWS):
            rows = slice(first, first + ROWS)
            found[rows] += np.matmul(one[nearest[rows]], one[rows, :, None])[..., 0]
    return found / len(directions)

"""Collective inference: an image that was never trained on looks like a member if images like it were (ours).

x_kif = b_if + M_ki d_if + g_f z_ki + e, z_ki = sum_j W_ij M_kj less its mean over i: the part of an image's neighbours
that encoder k was trained on. Shadows teach g, and the target's z comes from its own posterior, in a few rounds. Two
things are essential, as measured: z is centred (else a broad kernel flips all signs), and no evidence flows back from
an image's neighbours beyond z.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array
from scipy.special import expit

from lpla.attacks.attack._bank_columns import MANY_SHADOWS
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.attacks.likelihood.crossed import Combined, Crossed

ROUNDS = 3
EPSILON = float(np.finfo(float).eps)
Members = Bool[np.ndarray, "K N"]


class Collective:
    """Weighs the standardised statistics of a bank, corrected for who else was a member.

    `likelihood` is `combined`, which is `Crossed` below 4 shadows, or `crossed`. `kernel` is W, row i the weights of
    image i's neighbours; it holds no label.
    """

    def __init__(self, likelihood: str, kernel: csr_array) -> None:
        self.likelihood, self.kernel = likelihood, kernel

    def fit(self, x: Sequence[Float[np.ndarray, "N F"]] | Float[np.ndarray, "K N F"], inside: Members) -> Self:
        """Learn g, the weights and the likelihood from the shadows' statistics and members."""
        shadows, members = len(x), inside.astype(float)
        z = np.stack([self._company(row) for row in members])
        influence = _influence(x, members, z)
        corrected = np.empty((shadows, *x[0].shape))
        for k, one in enumerate(x):
            corrected[k] = one - z[k][:, None] * influence
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
    x: Sequence[Float[np.ndarray, "N F"]] | Float[np.ndarray, "K N F"],
    inside: Float[np.ndarray, "K N"],
    z: Float[np.ndarray, "K N"],
) -> Float[np.ndarray, " F"]:
    """g of every statistic by least squares on M and z, within images where there are several shadows."""
    axis = 0 if len(x) > 1 else (0, 1)
    causes = np.stack([(one - one.mean(axis=axis, keepdims=True)).ravel() for one in (inside, z)], axis=1)
    unit, triangle = np.linalg.qr(causes)
    # As the causes are centred, what x has in common with them is what x about its own mean has.
    common = np.zeros((2, x[0].shape[1]))
    for part, one in zip(unit.reshape(*inside.shape, 2), x, strict=True):
        common += part.T @ one
    return np.linalg.lstsq(triangle, common, rcond=len(causes) * EPSILON)[0][1]

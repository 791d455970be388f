"""LiRA: each image its own normals of "in" and "out", from its shadows alone (Carlini et al., arXiv 2112.03570)."""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.cells import Cells
from lpla.contracts.inputs import InputError

FLOOR = 1e-6
"""Smallest variance of a cell, as a part of the pooled one: two shadows may agree by chance."""


class Lira:
    """A normal distribution of each image's value, inside and outside, over the shadows (LiRA).

    Fitted: `mean_` and `variance_`, both [2, N], row 0 out and row 1 in; `D_`.

    `shared=False`: the sample variance of each cell (image x side). `shared=True`, for few shadows: the one variance
    within cells, pooled over images and over both sides, so that no image's ranking flips in a tail.
    """

    neutral_ = 0.0

    def __init__(self, shared: bool) -> None:
        self.shared = shared

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the standardised mean of image i under shadow k, which was trained on it or not."""
        cells = Cells.of(x, inside)
        fewest, needed = cells.fewest(inside), 1 if self.shared else 2
        if fewest < needed or not cells.dof.any():
            name, least = ("lira_shared", "1 shadow (of some image 2)") if self.shared else ("lira", "2 shadows")
            raise InputError(
                f"attack.likelihood={name} needs every image in at least {least} and out of as many "
                f"(balanced layout, >= 4 shadows), got {len(x)} shadows and an image with {fewest} on one side"
            )
        self.mean_, self.D_ = cells.mean, cells.gap()
        pooled = cells.squares.sum() / cells.dof.sum() or 1.0
        self.variance_ = np.full(cells.n.shape, pooled)
        if not self.shared:
            self.variance_ = np.maximum(cells.squares / np.maximum(cells.dof, 1), FLOOR * pooled)
        self._known = np.all(cells.n >= needed, axis=0)
        return self

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """log N(x_0i; in) - log N(x_0i; out); neutral for an image of which too few shadows know anything."""
        outside, inside = np.log(self.variance_) + (x0 - self.mean_) ** 2 / self.variance_
        return np.where(self._known, 0.5 * (outside - inside), self.neutral_)

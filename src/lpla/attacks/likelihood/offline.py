"""Offline: how far the target lies from shadows that never held the image, on the members' side.

The only per-sample attack, besides `hier`, for images that no shadow was trained on (split=disjoint). One-sided: the
sign of the members' shift is learnt from the shadows' own members, which are other images.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.cells import Cells
from lpla.attacks.likelihood.variance_prior import fit_variance_prior, moderate
from lpla.contracts.inputs import InputError


class Offline:
    """Compares an image's value with its values under shadows that never held it.

    Fitted: `mean_` and `deviation_` of a new value if the image is not a member; `D_`, `neutral_`.

    Variances are those of the shadows outside, moderated by all images'. An image of which no shadow was outside has
    nothing to be compared with: it scores 0.
    """

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the standardised mean of image i under shadow k, which was trained on it or not."""
        cells = Cells.of(x, inside)
        n, dof, squares = cells.n[0], cells.dof[0], cells.squares[0]
        if not dof.any():
            raise InputError(
                "attack.likelihood=offline needs some image that two shadows were not trained on "
                f"(disjoint layout: >= 2 shadows, balanced: >= 4), got {len(x)} shadows"
            )
        self.D_, self.mean_, self._known = cells.gap(), cells.mean[0], n > 0
        d0, s02 = fit_variance_prior(squares[dof > 0], dof[dof > 0])
        self.deviation_ = np.sqrt(moderate(squares, dof, d0, s02) * (1 + 1 / np.maximum(n, 1)))
        # A score that members exceed as often as non-members stay below it: half the gap.
        self.neutral_ = 0.5 * abs(self.D_) / float(np.median(self.deviation_[self._known]))
        return self

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """sgn(D) (x_0i - xout_i) / sqrt(s_i^2 (1 + 1/n_out)); without any gap no side is known: 0."""
        return np.where(self._known, np.sign(self.D_) * (x0 - self.mean_) / self.deviation_, 0.0)

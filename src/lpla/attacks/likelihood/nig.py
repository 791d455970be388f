"""Normal-inverse-gamma per sample: LiRA whose variances are moderated by all images' (BaVarIA, arXiv 2603.11799).

Each cell (image x side) has its own mean, flat a priori, and its own variance, s^2 ~ d0 s0^2 / chi^2(d0), where d0 and
s0^2 come from all cells of that side; integrated out, a new value follows Student's t.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t

from lpla.attacks.likelihood.cells import Cells
from lpla.attacks.likelihood.variance_prior import fit_variance_prior, moderate
from lpla.contracts.inputs import InputError


class Nig:
    """A Student predictive of each image's value, inside and outside, by normal-inverse-gamma priors.

    Fitted: location `mean_`, `scale_` and degrees of freedom `nu_` of the predictive, [2, N], row 1 in; `D_`.
    """

    neutral_ = 0.0

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the standardised mean of image i under shadow k, which was trained on it or not."""
        cells = Cells.of(x, inside)
        fewest = cells.fewest(inside)
        if fewest < 1 or not cells.dof.any(axis=1).all():
            raise InputError(
                "attack.likelihood=nig needs every image in at least 1 shadow (some image in 2) and out of as many "
                f"(balanced layout, >= 4 shadows), got {len(x)} shadows and an image with {fewest} on one side"
            )
        self.mean_, self.D_ = cells.mean, cells.gap()
        s2, nu = [], []
        for squares, dof in zip(cells.squares, cells.dof, strict=True):
            d0, s02 = fit_variance_prior(squares[dof > 0], dof[dof > 0])
            s2.append(moderate(squares, dof, d0, s02))
            nu.append(d0 + dof)
        self._known = np.all(cells.n > 0, axis=0)
        self.scale_, self.nu_ = np.sqrt(np.array(s2) * (1 + 1 / np.maximum(cells.n, 1))), np.array(nu)
        return self

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """log t(x_0i | in) - log t(x_0i | out); neutral for an image of which one side of shadows knows nothing."""
        outside, inside = t.logpdf(x0, self.nu_, self.mean_, self.scale_)
        return np.where(self._known, inside - outside, self.neutral_)

"""RMIA: pairwise likelihood ratios of an image against the population (Zarifzadeh et al. 2024, arXiv 2312.03262).

The exponential of the standardised scalar plays the probability that the attack is defined on, with the sign that the
shadows' members have: Pr(x | encoder) = exp(sgn u). Everything happens in logarithms, so no value overflows.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp
from scipy.stats import rankdata

from lpla.attacks.likelihood.cells import Cells

OFFLINE = 0.3
"""How much of an image's evidence under encoders that held it is taken from those that did not: `a` of the paper, which
tunes it per data set. This is its value for CIFAR-10 as we remember it; the text was not at hand to check."""
GAMMA = 1.0
"""Ratios count as they are. It moves the shares, not the order of the images, so no figure of a row depends on it."""


class Rmia:
    """Compares an image's likelihood ratio with those of the other images (RMIA).

    Fitted: `log_evidence_`, the logarithm of P(x) over shadows; `D_`.

    P(x) is the mean of the in-mean and the out-mean if every image has both (online); else, for every image, as ratios
    are compared between images, ((1 + a) out-mean + (1 - a)) / 2 (offline). An image that every shadow held has the
    ratio 1, which says nothing.
    """

    neutral_ = 0.5

    def __init__(self, a: float = OFFLINE, gamma: float = GAMMA) -> None:
        self.a, self.gamma = a, gamma

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the standardised mean of image i under shadow k, which was trained on it or not."""
        cells = Cells.of(x, inside)
        self.D_ = cells.gap()
        online, known = cells.fewest(inside) > 0, np.isfinite(x)
        self._sign, self._known = np.sign(self.D_), cells.paired if online else cells.n[0] > 0
        outside, within = (
            logsumexp(np.where(side, self._sign * x, -np.inf), axis=0) - np.log(np.maximum(n, 1))
            for side, n in zip((~inside & known, inside & known), cells.n, strict=True)
        )
        if online:
            self.log_evidence_ = np.logaddexp(outside, within) - np.log(2)
        else:
            with np.errstate(divide="ignore"):  # a = 1 leaves no constant
                constant = np.log((1 - self.a) / 2)
            self.log_evidence_ = np.logaddexp(np.log((1 + self.a) / 2) + outside, constant)
        return self

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Return the share of other images z for which ratio(x) / ratio(z) >= gamma, ratio(x) = Pr(x | target) / P(x).

        z runs over all other images that target and shadows are queried with, members and non-members alike, as
        nothing of the target's membership is known. Against one population the share is a step function of the
        image's own ratio, so images of equal shares are ordered by that ratio; gamma moves the shares, not the order.
        """
        ratio = np.where(self._known & np.isfinite(x0), self._sign * x0 - self.log_evidence_, 0.0)
        shift = np.log(self.gamma)
        beaten = np.searchsorted(np.sort(ratio), ratio - shift, side="right") - (shift <= 0)
        # Beaten images and less than one more: `beaten` is at most N - 1.
        share = (beaten + rankdata(ratio) / (len(ratio) + 1)) / len(ratio)
        return np.where(np.isfinite(x0), share, np.nan)

"""Quantile regression: is an image's norm unusual among images that look alike (Bertran et al., arXiv 2307.03694)?

Ours: the statistic, the features (a thumbnail's principal axes: no second network) and cross-fitting over images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from lpla.attacks.attack._log_norms import PS, LogNorms, mean_of_known
from lpla.attacks.attack._whitening import Whitening
from lpla.attacks.likelihood.gaussian_head import GaussianHead
from lpla.attacks.likelihood.leave_one_out import balanced_cut
from lpla.attacks.likelihood.standardise import standardise
from lpla.contracts.evidence import Attack, Labelled, Seen, ShadowScores
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.contracts.settings import Dimension, Order, Orders, checked
from lpla.data.pixels import thumbnails
from lpla.extraction.statistic.log_norm import LogNorm

FOLDS = 5
FEWEST = 2 * FOLDS
"""Images of which non-members' values must be known."""


@checked
class Quantile(Attack):
    """Asks how unusual an image's norm is among images that look alike.

    The log-norm for p against its distribution over the shadows' non-members that look alike, in deviations.

    An image's distribution is learnt from other images, in the shadows as in the target. Fitted: `heads_` (one per
    fold), `member_gap_` (whose sign says whether members lie above or below).
    """

    NEEDS = ("shadows",)
    refits_quickly = False

    def __init__(self, *, p: Order = 2.0, ps: Orders = PS, dimensions: Dimension = 32) -> None:
        self.p, self.dimensions = p, dimensions
        self._norms = LogNorms([*ps, p])

    def looks_at_pixels(self) -> bool:
        """Return True: the norm is predicted from the images themselves."""
        return True

    def statistics(self) -> tuple[LogNorm]:
        """Return the log-norms for every p of the sweep, so that one extraction serves them all."""
        return (self._norms.statistic,)

    def check(self, shadows: Sequence[Labelled]) -> None:
        """Raise InputError where too few images are ever seen as non-members."""
        if all(np.array_equal(shadow.index, shadows[0].index) for shadow in shadows):
            _check_seen(int((~np.stack([shadow.member for shadow in shadows])).any(axis=0).sum()))

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Learn the distribution from the shadows' non-members, its side and the threshold from their members too."""
        if not shadows:
            raise InputError("attack=quantile needs at least 1 shadow, got 0")
        index, pixels = shadows[0].index, _pixels(shadows[0])
        if any(not np.array_equal(shadow.index, index) for shadow in shadows):
            raise ValueError("attack=quantile needs shadows of the same images in the same order")
        if any(shadow.foreign for shadow in shadows):
            raise UndefinedError("attack=quantile needs shadows on the target's data set: it predicts from the pixels")
        self._set_aside = self._norms.set_aside(shadows)
        thumbs = thumbnails(pixels)
        self._axes = Whitening(self.dimensions).fit(thumbs, np.ones(len(thumbs), bool))
        self._known = (pixels, self._project(thumbs))
        inside = np.stack([shadow.member for shadow in shadows])
        x, usable = (np.stack(part) for part in zip(*map(self._means, shadows), strict=True))
        self._fit_heads(index, x, ~inside & usable)
        residual, members = self._residual(self._known[1], index, x), inside & usable
        outside = residual[~inside & usable].mean()
        self.member_gap_ = float(residual[members].mean() - outside) if members.any() else 0.0
        self.shadow_scores_ = ShadowScores(self._sign * residual[usable], inside[usable])
        self.threshold_ = balanced_cut(self.shadow_scores_.score, self.shadow_scores_.member)
        return self

    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """Deviations from what images that look alike have as non-members, towards the members' side; 0 if unusable."""
        pixels = _pixels(target)
        features = self._known[1] if pixels is self._known[0] else self._project(thumbnails(pixels))
        x, usable = self._means(target)
        return np.where(usable, self._sign * self._residual(features, target.index, x), 0.0)

    def fit_summary(self) -> dict[str, str | int | float]:
        """Return the sign and size of the members' shift, the threshold and its origin."""
        return {
            "likelihood": "gaussian_head",
            "member_gap": self.member_gap_,
            "shadow_threshold": self.threshold_,
            "threshold_from": "best balanced accuracy on the shadows, each image judged by others",
        }

    def warnings(self) -> list[str]:
        """Say which views of the shadows were set aside."""
        return self._set_aside

    @property
    def _sign(self) -> float:
        return -1.0 if self.member_gap_ < 0 else 1.0

    def _means(self, seen: Seen) -> tuple[Float[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
        """Mean of the standardised log-norms of every image's usable views, and whether it has any."""
        s = self._norms.of(seen, self.p)
        mean = mean_of_known(standardise(s), np.isfinite(s))
        return np.nan_to_num(mean), ~np.isnan(mean)

    def _fit_heads(
        self, index: Int[np.ndarray, " N"], x: Float[np.ndarray, "K N"], out: Bool[np.ndarray, "K N"]
    ) -> None:
        _check_seen(int(out.any(axis=0).sum()))
        features, fold = self._known[1], folds(index)
        self.heads_ = [
            GaussianHead().fit(features[fold != one], x[:, fold != one], out[:, fold != one]) for one in range(FOLDS)
        ]

    def _residual(
        self, features: Float[np.ndarray, "N d"], index: Int[np.ndarray, " N"], x: Float[np.ndarray, "*K N"]
    ) -> Float[np.ndarray, "*K N"]:
        fold, found = folds(index), np.zeros(x.shape)
        for one, head in enumerate(self.heads_):
            if (here := fold == one).any():
                found[..., here] = head.standardise(features[here], x[..., here])
        return found

    def _project(self, thumbs: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N d"]:
        return self._axes.project(thumbs, np.ones(len(thumbs), bool))


def folds(index: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Return the fold of every image: a hash of its identity, so that it is the same wherever the image turns up."""
    mixed = index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(40)) % np.uint64(FOLDS)).astype(np.int64)


def _check_seen(images: int) -> None:
    if images < FEWEST:
        raise InputError(f"attack=quantile needs at least {FEWEST} images some shadow did not hold, got {images}")


def _pixels(seen: Seen) -> UInt8[np.ndarray, "N C H W"]:
    if seen.pixels is None:
        raise InputError("attack=quantile needs the images' pixels, got none")
    return seen.pixels

"""GMM: compare an image's vector with mixtures of Gaussians fitted to members' and to non-members' vectors.

After Dziedzic et al., "Dataset Inference for Self-Supervised Models" (arXiv 2209.09024), whose mixture tells whether an
encoder was trained on a data set; here it tells whether it was trained on an image. Ours: shadows, the frame they
share, and that both mixtures start from that of all vectors, so that they differ by membership, not by where EM ended.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from lpla.attacks.attack._log_norms import set_aside
from lpla.attacks.attack._threads import each, one_thread
from lpla.attacks.attack._whitening import Whitening, rotation_onto
from lpla.attacks.likelihood.calibrated import NEITHER_SIDE
from lpla.attacks.likelihood.leave_one_out import balanced_cut, held_by_some, judges
from lpla.contracts.evidence import Attack, Labelled, Seen, ShadowScores
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.contracts.settings import Count, Dimension, checked
from lpla.contracts.streams import stream
from lpla.extraction.statistic.clean import Clean

MOST = 10_000
"""Vectors a mixture is fitted on; more are drawn from at random, by a fixed seed."""


@checked
class GMM(Attack):
    """Mixtures of `components` axis-parallel Gaussians, over `dimensions` principal axes of the clean images' vectors.

    Fitted: `out_` and `in_` (the mixtures), `reference_` (the first shadow's coordinates), `alignment_` (how well the
    shadows agree, 1 = up to a linear map).
    """

    NEEDS = ("shadows",)
    refits_quickly = False

    def __init__(self, *, dimensions: Dimension = 32, components: Count = 4) -> None:
        self.dimensions, self.components = dimensions, components

    def statistics(self) -> tuple[Clean]:
        """Name the vector of the clean image."""
        return (Clean(),)

    def check(self, shadows: Sequence[Labelled]) -> None:
        """Raise InputError where the members or the non-members are fewer than the Gaussians."""
        inside = np.concatenate([shadow.member for shadow in shadows])
        self._check_counts(min(int(inside.sum()), int((~inside).sum())))

    def _check_counts(self, fewest: int) -> None:
        if fewest < max(self.components, 2):
            raise InputError(
                f"attack.components={self.components} needs as many members' and non-members' vectors (and at least "
                f"2), got {fewest}"
            )

    @one_thread()
    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Align the shadows to the first, fit the mixtures, and learn the threshold on shadows left out in turn."""
        if not shadows:
            raise InputError("attack=gmm needs at least 1 shadow, got 0")
        self._index, self._foreign, self.reference_ = shadows[0].index, shadows[0].foreign, None
        largest = np.stack(each(lambda shadow: _largest(self._vectors(shadow)), shadows))
        usable = _usable(largest)
        # The first is what the others are aligned to.
        first = self._align(shadows[0], usable[0])
        aligned = [first, *each(lambda k: self._align(shadows[k], usable[k]), range(1, len(shadows)))]
        zero, nonfinite = int((largest == 0).sum()), int((~np.isfinite(largest)).sum())
        self._set_aside = set_aside(zero, nonfinite, "embeddings among the shadows' images")
        z = np.stack([one for one, _ in aligned])
        self.alignment_ = float(np.mean([agreement for _, agreement in aligned[1:]])) if len(shadows) > 1 else 1.0
        inside = np.stack([shadow.member for shadow in shadows])
        self._check_counts(int(min((inside & usable).sum(), (~inside & usable).sum())))
        self._start = self._mixture(_draw(z, usable), None)
        self.out_, self.in_ = self._sides(z, inside, usable)
        self._learn_threshold(z, inside, usable)
        return self

    @one_thread()
    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """log p(vector | in) - log p(vector | out); 0 for a zero or non-finite vector."""
        usable = _usable(_largest(self._vectors(target)))
        z, _ = self._align(target, usable)
        return _ratio(self.out_, self.in_, z, usable)

    def fit_summary(self) -> dict[str, str | int | float]:
        """Say how well the shadows' vectors agree, the threshold and its origin."""
        return {
            "alignment": self.alignment_,
            "shadow_threshold": self.threshold_,
            "threshold_from": self.threshold_from_,
        }

    def warnings(self) -> list[str]:
        """Say where the threshold is not learnt, where EM did not settle, and what was set aside."""
        found = [f"threshold at {NEITHER_SIDE}"] if self.shadow_scores_ is None else []
        if not (self.out_.converged_ and self.in_.converged_):
            found.append(f"the mixtures were still moving after {self.in_.max_iter} steps of EM")
        return found + self._set_aside

    def _vectors(self, seen: Seen) -> Float[np.ndarray, "N D"]:
        if seen.foreign != self._foreign or not np.array_equal(seen.index, self._index):
            raise UndefinedError(
                "attack=gmm needs the same images of every encoder to align them, got different ones (split)"
            )
        return seen.values[Clean.name]

    def _align(self, seen: Seen, usable: Bool[np.ndarray, " N"]) -> tuple[Float[np.ndarray, "N d"], float]:
        """Coordinates in the first shadow's frame, 0 where not usable, and their agreement with that shadow's."""
        x = self._vectors(seen)
        z = Whitening(self.dimensions).fit(x, usable).project(x, usable)
        if self.reference_ is None:
            self.reference_ = z
        # A row of 0 says nothing on the rotation.
        rotation, agreement = rotation_onto(self.reference_, z)
        return z @ rotation, agreement

    def _sides(
        self, z: Float[np.ndarray, "K N d"], inside: Bool[np.ndarray, "K N"], usable: Bool[np.ndarray, "K N"]
    ) -> tuple[GaussianMixture, GaussianMixture]:
        """The mixtures of the non-members' and of the members' vectors."""
        out, members = (self._mixture(_draw(z, side & usable), self._start) for side in (~inside, inside))
        return out, members

    def _mixture(self, x: Float[np.ndarray, "M d"], start: GaussianMixture | None) -> GaussianMixture:
        begin = {} if start is None else {
            "weights_init": start.weights_, "means_init": start.means_, "precisions_init": start.precisions_
        }  # fmt: skip
        mixture = GaussianMixture(self.components, covariance_type="diag", random_state=0, **begin)
        with warnings.catch_warnings():
            # `remarks` says it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return mixture.fit(x)

    def _learn_threshold(
        self, z: Float[np.ndarray, "K N d"], inside: Bool[np.ndarray, "K N"], usable: Bool[np.ndarray, "K N"]
    ) -> None:
        """Every shadow is scored by the others without its complement, as in `likelihood.leave_one_out`."""
        fitted: dict[bytes, tuple[GaussianMixture, GaussianMixture]] = {}
        scores, judged = np.empty(inside.shape), held_by_some(inside)
        for k, others in enumerate(judges(inside)):
            sides = [(side & usable)[others].sum() for side in (inside, ~inside)]
            if min(sides) < max(self.components, 2):
                self.shadow_scores_, self.threshold_, self.threshold_from_ = None, 0.0, NEITHER_SIDE
                return
            # A shadow and its complement are judged by the same others.
            if others.tobytes() not in fitted:
                fitted[others.tobytes()] = self._sides(z[others], inside[others], usable[others])
            scores[k] = _ratio(*fitted[others.tobytes()], z[k], usable[k])
        self.shadow_scores_ = ShadowScores(scores[:, judged].ravel(), inside[:, judged].ravel())
        self.threshold_ = balanced_cut(self.shadow_scores_.score, self.shadow_scores_.member)
        self.threshold_from_ = "best balanced accuracy on the shadows, each left out in turn"


def _ratio(
    out: GaussianMixture, members: GaussianMixture, z: Float[np.ndarray, "N d"], usable: Bool[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    return np.where(usable, members.score_samples(z) - out.score_samples(z), 0.0)


def _draw(z: Float[np.ndarray, "K N d"], side: Bool[np.ndarray, "K N"]) -> Float[np.ndarray, "M d"]:
    """The vectors on one side, at most MOST of them."""
    k, i = np.nonzero(side)
    if len(k) > MOST:
        drawn = stream("mixture sample", 0).choice(len(k), MOST, replace=False, shuffle=False)
        k, i = k[drawn], i[drawn]
    return z[k, i]


def _largest(x: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """Largest magnitude in each vector: 0 for a zero vector, not finite for a non-finite one."""
    return np.maximum(x.max(axis=1), -x.min(axis=1))


def _usable(largest: Float[np.ndarray, "*K N"]) -> Bool[np.ndarray, "*K N"]:
    return np.asarray((largest > 0) & (largest < np.inf))

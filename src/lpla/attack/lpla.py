"""LpLA: membership from the p-norm of embeddings, calibrated on shadows (arXiv 2506.05743; the definition is ours)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float

from lpla.contracts import Attack, InputError, Labelled, Seen
from lpla.likelihood.class_conditional import ClassConditional
from lpla.likelihood.hier import Hier
from lpla.likelihood.leave_one_out import leave_one_out
from lpla.likelihood.standardise import standardise
from lpla.likelihood.threshold import balanced_cut
from lpla.statistic.log_norm import LogNorm, count_unusable, valid_p

LIKELIHOODS = ("auto", "class_conditional", "hier")
EQUAL_LIKELIHOOD = "equal likelihood: too few shadows to leave a pair out"


class LpLA(Attack):
    """Likelihood ratio of "in" and "out" for the log-norms of an image's views.

    `likelihood`: `class_conditional` pools all images of all shadows, `hier` compares an image with itself under other
    shadows, `auto` takes `hier` wherever the layout allows it. Fitted: `likelihood_`, `model_`, `threshold_`.
    """

    def __init__(self, *, p: float, ps: Sequence[float], likelihood: str, tie_variance: bool) -> None:
        if likelihood not in LIKELIHOODS:
            raise InputError(f"attack.likelihood must be one of {', '.join(LIKELIHOODS)}, got {likelihood!r}")
        self.p = valid_p(p)
        self.likelihood = likelihood
        self.tie_variance = tie_variance
        self._statistic = LogNorm(tuple(sorted({valid_p(one) for one in ps} | {self.p})))

    def statistics(self) -> tuple[LogNorm]:
        """The log-norms for every p of the sweep, so that one extraction serves them all."""
        return (self._statistic,)

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Learn the likelihoods and the threshold."""
        if not shadows:
            raise InputError(f"attack.likelihood={self.likelihood} needs at least 1 shadow, got 0")
        self.likelihood_ = self.likelihood
        if self.likelihood == "auto":
            self.likelihood_ = "hier" if _allows_hier(shadows) else "class_conditional"
        unusable = np.array([count_unusable(self._log_norms(shadow)) for shadow in shadows]).sum(axis=0)
        self.zero_views_, self.nonfinite_views_ = (int(count) for count in unusable)
        if self.likelihood_ == "hier":
            self._fit_hier(shadows)
        else:
            self._fit_class_conditional(shadows)
        return self

    def _fit_class_conditional(self, shadows: Sequence[Labelled]) -> None:
        u = [self._standardised(shadow) for shadow in shadows]
        member = [shadow.member for shadow in shadows]
        self.model_ = ClassConditional(self.tie_variance).fit(u, member)
        self.member_gap_ = float(self.model_.mu_[1] - self.model_.mu_[0])
        scores = np.concatenate([self.model_.score(one) for one in u])
        self.threshold_ = balanced_cut(scores, np.concatenate(member))
        self.threshold_from_ = "best balanced accuracy on the shadows"

    def _fit_hier(self, shadows: Sequence[Labelled]) -> None:
        self.index_ = shadows[0].index
        if not _same_images(shadows):
            raise ValueError("attack.likelihood=hier needs shadows that hold the same images in the same order")
        x = np.stack([self._standardised(shadow).mean(axis=1) for shadow in shadows])
        inside = np.stack([shadow.member for shadow in shadows])
        self.model_ = Hier().fit(x, inside)
        self.member_gap_ = float(self.model_.D_)
        try:
            self.threshold_ = balanced_cut(leave_one_out(x, inside).ravel(), inside.ravel())
            self.threshold_from_ = "best balanced accuracy on the shadows, each left out in turn"
        except InputError:
            self.threshold_ = 0.0
            self.threshold_from_ = EQUAL_LIKELIHOOD

    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """log p(seen | in) - log p(seen | out)."""
        u = self._standardised(target)
        if isinstance(self.model_, ClassConditional):
            return self.model_.score(u)
        if not np.array_equal(target.index, self.index_):
            raise ValueError("attack.likelihood=hier needs a target that holds the shadows' images in the same order")
        return self.model_.score(u.mean(axis=1))

    def notes(self) -> dict[str, str | int | float]:
        """The likelihood used, the sign and size of the members' shift, the threshold and its origin."""
        return {
            "likelihood": self.likelihood_,
            "member_gap": self.member_gap_,
            "shadow_threshold": self.threshold_,
            "threshold_from": self.threshold_from_,
        }

    def remarks(self) -> list[str]:
        """Where the threshold does not come from the shadows' scores; views of the shadows that were set aside."""
        found = []
        if self.threshold_from_ == EQUAL_LIKELIHOOD:
            found.append(f"threshold at {EQUAL_LIKELIHOOD}")
        if self.zero_views_ or self.nonfinite_views_:
            counts = f"{self.zero_views_} zero and {self.nonfinite_views_} non-finite"
            found.append(f"{counts} embeddings among the shadows' views, scored as uninformative")
        return found

    def _log_norms(self, seen: Seen) -> Float[np.ndarray, "N Q P"]:
        values = seen.values[LogNorm.name]
        if values.ndim != 3 or values.shape[2] != len(self._statistic.ps):
            raise ValueError(f"log_norm must be [N, Q, {len(self._statistic.ps)}], got {values.shape}")
        return values

    def _standardised(self, seen: Seen) -> Float[np.ndarray, "N Q"]:
        return standardise(self._log_norms(seen)[..., self._statistic.ps.index(self.p)])


def _same_images(shadows: Sequence[Labelled]) -> bool:
    return all(np.array_equal(shadow.index, shadows[0].index) for shadow in shadows)


def _allows_hier(shadows: Sequence[Labelled]) -> bool:
    """Whether every image was inside one shadow at least and outside another, and some cell holds two."""
    if len(shadows) < 4 or not _same_images(shadows):
        return False
    times_inside = np.sum([shadow.member for shadow in shadows], axis=0)
    return bool(np.all((times_inside > 0) & (times_inside < len(shadows))))

"""One scalar per view of an image -> a membership score: the same choice of likelihoods for every scalar statistic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Self

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.class_conditional import ClassConditional
from lpla.attacks.likelihood.density import DensityName
from lpla.attacks.likelihood.leave_one_out import balanced_cut, leave_one_out
from lpla.attacks.likelihood.per_sample import PER_SAMPLE, PerSample
from lpla.attacks.likelihood.standardise import mean_of_views, standardise
from lpla.contracts.evidence import Labelled, Seen, ShadowScores
from lpla.contracts.inputs import InputError, UndefinedError

Likelihood = Literal[
    "auto", "combined", "class_conditional", "crossed", "lira", "lira_shared", "nig", "hier", "offline", "rmia"
]
CALIBRATED = ("hier", "crossed", "combined")
"""Likelihoods whose score is evidence as it stands: a log-likelihood ratio that few shadows do not exaggerate. Without
a leak their log score at 4 shadows, and that of `crossed` at 1, is that of the prior, .693 to .698; of `lira` 4.8."""
NEITHER_SIDE = "the score that favours neither side: too few shadows to leave a pair out"


class Calibrated:
    """Compares a target's scalars with those of shadows, standardised per encoder.

    `likelihood`: `class_conditional` pools all images of all shadows (`tie_variance` and `density` are its), those of
    `PER_SAMPLE` compare an image with itself under other shadows. `auto`, or `combined`, is the mean of `hier` and
    `crossed`, `crossed` alone where the layout does not allow `hier`, and `class_conditional` where the shadows were
    asked about other images than the target.
    `models` are `PER_SAMPLE`, some of them with other parameters. `on_one_scale`: the scalars are combinations of
    standardised ones, with the same weights for every encoder, and are taken as they are.
    Fitted: `likelihood_`, `model_`, `neutral_` (the score that favours neither side), `member_gap_`, `threshold_`,
    `threshold_from_`, `shadow_scores_`.
    """

    def __init__(
        self,
        *,
        likelihood: Likelihood,
        tie_variance: bool,
        density: DensityName = "gaussian",
        models: Mapping[str, Callable[[], PerSample]] = PER_SAMPLE,
        on_one_scale: bool = False,
    ) -> None:
        self.likelihood, self._models, self.on_one_scale = likelihood, models, on_one_scale
        self._pooled = ClassConditional(tie_variance, density)

    def compares_images(self) -> bool:
        """Return whether the likelihood compares an image with itself under shadows, and can do nothing else."""
        return self.likelihood in self._models and self.likelihood != "combined"

    def chosen(self, shadows: Sequence[Labelled]) -> str:
        """The likelihood that `fit` will use, what `auto` comes to; refuses shadows that it cannot be fitted to."""
        if not shadows:
            raise InputError(f"attack.likelihood={self.likelihood} needs at least 1 shadow, got 0")
        if self.likelihood in ("auto", "combined"):
            return _combined(shadows)
        if self.likelihood in PER_SAMPLE and not _same_images(shadows):
            raise UndefinedError(
                f"attack.likelihood={self.likelihood} needs shadows of the same images in the same order, the target's"
            )
        return self.likelihood

    def fit(self, shadows: Sequence[Labelled], raw: Sequence[Float[np.ndarray, "N Q"]]) -> Self:
        """Learn the likelihoods and the threshold from `raw[k]`, the scalars of shadow k (one column: no views)."""
        self.likelihood_ = self.chosen(shadows)
        u = [self._scaled(one) for one in raw]
        if self.likelihood_ in PER_SAMPLE:
            self._fit_per_sample(shadows, u)
        else:
            self._fit_class_conditional(u, [shadow.member for shadow in shadows])
        return self

    def _fit_class_conditional(
        self, u: Sequence[Float[np.ndarray, "N Q"]], member: Sequence[Bool[np.ndarray, " N"]]
    ) -> None:
        self.model_, self.neutral_ = self._pooled.fit(u, member), 0.0
        self.member_gap_ = float(self.model_.mu_[1] - self.model_.mu_[0])
        scores, inside = np.concatenate([self.model_.score(one) for one in u]), np.concatenate(member)
        known = ~np.isnan(scores)
        self._learn_threshold(
            ShadowScores(scores[known], inside[known]), "best balanced accuracy where the attack learnt"
        )

    def _fit_per_sample(self, shadows: Sequence[Labelled], u: Sequence[Float[np.ndarray, "N Q"]]) -> None:
        self.index_ = shadows[0].index
        make_model = self._models[self.likelihood_]
        x, inside = np.stack([mean_of_views(one) for one in u]), np.stack([shadow.member for shadow in shadows])
        self.model_ = make_model().fit(x, inside)
        self.neutral_ = self.model_.neutral_
        self.member_gap_ = float(self.model_.D_)
        try:
            scores = leave_one_out(make_model, x, inside)
        except InputError:
            self.shadow_scores_, self.threshold_from_ = None, NEITHER_SIDE
            self.threshold_ = self.neutral_
            return
        judged = ~np.isnan(scores)
        origin = "best balanced accuracy on the shadows, each left out in turn"
        self._learn_threshold(ShadowScores(scores[judged], inside[judged]), origin)

    def _learn_threshold(self, scores: ShadowScores, origin: str) -> None:
        self.shadow_scores_, self.threshold_from_ = scores, origin
        self.threshold_ = balanced_cut(scores.score, scores.member)

    def score(self, target: Seen, raw: Float[np.ndarray, "N Q"]) -> Float[np.ndarray, " N"]:
        """log p(seen | in) - log p(seen | out), or what the likelihood offers in its place.

        An image without a usable view gets the score that favours neither side.
        """
        u = self._scaled(raw)
        if isinstance(self.model_, ClassConditional):
            return _or_neutral(self.model_.score(u), u, self.neutral_)
        if target.foreign or not np.array_equal(target.index, self.index_):
            raise UndefinedError(
                f"attack.likelihood={self.likelihood_} needs a target that holds the shadows' images in the same order"
            )
        return _or_neutral(self.model_.score(mean_of_views(u)), u, self.neutral_)

    def _scaled(self, raw: Float[np.ndarray, "N Q"]) -> Float[np.ndarray, "N Q"]:
        return raw if self.on_one_scale else standardise(raw)

    def fit_summary(self) -> dict[str, str | int | float]:
        """Return the likelihood used, the sign and size of the members' shift, the threshold and its origin."""
        return {
            "likelihood": self.likelihood_,
            "member_gap": self.member_gap_,
            "shadow_threshold": self.threshold_,
            "threshold_from": self.threshold_from_,
        }

    def warnings(self) -> list[str]:
        """Say where the threshold does not come from the shadows' scores."""
        return [f"threshold at {NEITHER_SIDE}"] if self.threshold_from_ == NEITHER_SIDE else []


def _or_neutral(score: Float[np.ndarray, " N"], u: Float[np.ndarray, "N Q"], neutral: float) -> Float[np.ndarray, " N"]:
    return np.where(np.isfinite(u).any(axis=1), score, neutral)


def _same_images(shadows: Sequence[Labelled]) -> bool:
    """Whether all hold the same images of the target's data set."""
    first = shadows[0].index
    return all(not shadow.foreign and np.array_equal(shadow.index, first) for shadow in shadows)


def _combined(shadows: Sequence[Labelled]) -> str:
    """What the likelihood `combined` comes to."""
    if not _same_images(shadows):
        return "class_conditional"
    return "combined" if _allows_hier(shadows) else "crossed"


def _allows_hier(shadows: Sequence[Labelled]) -> bool:
    """Whether every image was inside one shadow at least and outside another, and some cell holds two."""
    if len(shadows) < 4 or not _same_images(shadows):
        return False
    times_inside = np.sum([shadow.member for shadow in shadows], axis=0)
    return bool(np.all((times_inside > 0) & (times_inside < len(shadows))))

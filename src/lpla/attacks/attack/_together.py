"""The calibration of a bank whose candidates are judged together: likelihood, threshold, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float, Float32
from scipy.sparse import csr_array

from lpla.attacks.attack._collective import Collective
from lpla.attacks.attack._neighbours import kernel_of
from lpla.attacks.attack._threads import each, one_thread
from lpla.attacks.likelihood.calibrated import NEITHER_SIDE, Calibrated
from lpla.attacks.likelihood.leave_one_out import balanced_cut, held_by_some, judges
from lpla.contracts.evidence import Labelled, Seen, ShadowScores
from lpla.contracts.inputs import InputError, UndefinedError

LIKELIHOODS = ("combined", "crossed")
"""That can judge a value of which a part is uncertain."""


class JudgedTogether:
    """What `Calibrated` is to scalars, for all statistics of all candidates at once.

    Fitted: `likelihood_`, `model_` (of the shadows alone), `threshold_`, `threshold_from_`, `shadow_scores_`.
    """

    def __init__(self, likelihood: str) -> None:
        if likelihood not in LIKELIHOODS:
            expected = " or ".join(LIKELIHOODS)
            raise InputError(f"attack.likelihood must be {expected} where attack.collective=true, got {likelihood!r}")
        self._choice = Calibrated(likelihood=likelihood, tie_variance=True)

    @one_thread()
    def fit(
        self,
        shadows: Sequence[Labelled],
        features: Float[np.ndarray, "K N F"],
        directions: Sequence[Float32[np.ndarray, "N D"]],
    ) -> Self:
        """Learn the threshold from shadows left out in turn; who keeps whom company is known with the target.

        Args:
            shadows: with their members.
            features: each one's standardised statistics.
            directions: each one's mean whitened directions.

        Returns:
            The calibration itself.

        Raises:
            UndefinedError: if the shadows were asked about other images than the target.
        """
        self.likelihood_ = self._choice.chosen(shadows)
        if self.likelihood_ not in LIKELIHOODS:
            raise UndefinedError("attack.collective=true needs shadows that answered for the target's images")
        self.index_, self._features, self._directions = shadows[0].index, features, list(directions)
        self._inside = np.stack([shadow.member for shadow in shadows])
        kernel = kernel_of(self._directions)
        self.model_ = Collective(self.likelihood_, kernel).fit(features, self._inside)
        scores = self._leave_one_out(kernel)
        judged = ~np.isnan(scores)
        if not judged.any():
            self.shadow_scores_, self.threshold_, self.threshold_from_ = None, 0.0, NEITHER_SIDE
            return self
        self.threshold_from_ = "best balanced accuracy on the shadows, each left out in turn"
        self.shadow_scores_ = ShadowScores(scores[judged], self._inside[judged])
        self.threshold_ = balanced_cut(self.shadow_scores_.score, self.shadow_scores_.member)
        return self

    def _leave_one_out(self, kernel: csr_array) -> Float[np.ndarray, "K N"]:
        """Score of every shadow by the others, as `leave_one_out` has it; nan where there is no other."""
        judged, scores = held_by_some(self._inside), np.full(self._inside.shape, np.nan)
        judged_by: dict[bytes, list[int]] = {}  # a shadow and its complement have the same jury
        juries = judges(self._inside)
        for k, jury in enumerate(juries):
            if jury.any():
                judged_by.setdefault(jury.tobytes(), []).append(k)

        def judge(tried: list[int]) -> None:
            jury = juries[tried[0]]
            features = [self._features[k] for k in np.flatnonzero(jury)]
            model = Collective(self.likelihood_, kernel).fit(features, self._inside[jury])
            for k in tried:
                scores[k, judged] = model.score(self._features[k])[judged]

        each(judge, judged_by.values())
        return scores

    @one_thread()
    def score(
        self,
        target: Seen,
        features: Float[np.ndarray, "N F"],
        directions: Float32[np.ndarray, "N D"],
    ) -> Float[np.ndarray, " N"]:
        """log p(seen | in) - log p(seen | out) of all candidates, alike in the eyes of the shadows and the target."""
        if target.foreign or not np.array_equal(target.index, self.index_):
            raise UndefinedError("attack.collective=true needs a target with the shadows' images in the same order")
        kernel = kernel_of(self._directions, directions)
        return Collective(self.likelihood_, kernel).fit(self._features, self._inside).score(features)

    def fit_summary(self) -> dict[str, str | int | float]:
        """The likelihood used, the sign and size of the members' shift, the threshold and its origin."""
        return {
            "likelihood": self.likelihood_,
            "member_gap": self.model_.D_,
            "shadow_threshold": self.threshold_,
            "threshold_from": self.threshold_from_,
        }

    def warnings(self) -> list[str]:
        """That scores hang together, and where the threshold does not come from the shadows' scores."""
        together = "collective: candidates are judged together, so an image's score depends on the others"
        return [together] + ([f"threshold at {NEITHER_SIDE}"] if self.threshold_from_ == NEITHER_SIDE else [])

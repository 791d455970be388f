"""An attack without shadows: what is known not to be a member sets the target's scale and its idea of the ordinary."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from jaxtyping import Float, Float32

from lpla.attacks.likelihood.conditional import Conditional
from lpla.attacks.likelihood.empirical import Empirical
from lpla.attacks.likelihood.mixture import Mixture
from lpla.attacks.likelihood.nonmembers import NonMembers, Tail
from lpla.attacks.likelihood.standardise import standardise
from lpla.contracts.evidence import Seen
from lpla.data.pixels import thumbnails

NoShadowModel = Literal["d1", "d2", "d3"]
MODELS: dict[str, type[NonMembers]] = {"d1": Empirical, "d2": Conditional, "d3": Mixture}
NEEDS_PIXELS = ("d2",)


class NoShadow:
    """`no_shadow` is one of `MODELS`, `tail` the side on which members are looked for; features are thumbnails.

    Fitted: `model_`, `threshold_`, `left_out_`, and `reference_`, the known non-members' scalars.
    """

    def __init__(self, *, no_shadow: NoShadowModel, tail: Tail) -> None:
        self.no_shadow, self.model_ = no_shadow, MODELS[no_shadow](tail)

    def fit(self, known: Seen, raw: Float[np.ndarray, "n Q"]) -> Self:
        """Learn from the scalars of known non-members, seen through the target; unusable images are left out."""
        usable = np.isfinite(raw).all(axis=1)
        self.left_out_, self.reference_ = int(np.sum(~usable)), raw[usable]
        features = self._features(known)
        self.model_.fit(standardise(self.reference_), None if features is None else features[usable])
        self.threshold_ = self.model_.threshold_
        return self

    def score(self, target: Seen, raw: Float[np.ndarray, "N Q"]) -> Float[np.ndarray, " N"]:
        """Score by the model; a candidate without any usable view gets the middle of the others' scores."""
        if raw.shape[1] != self.reference_.shape[1]:
            views = self.reference_.shape[1]
            raise ValueError(f"known non-members were seen through {views} views, the target through {raw.shape[1]}")
        speaks, features = np.isfinite(raw).any(axis=1), self._features(target)
        score = np.zeros(len(raw))
        if speaks.any():
            u = standardise(raw, self.reference_)[speaks]
            score[speaks] = self.model_.score(u, None if features is None else features[speaks])
            score[~speaks] = np.median(score[speaks])
        return score

    def fit_summary(self) -> dict[str, str | int | float]:
        """The model used, on how many images it rests, and the threshold."""
        origin = "posterior odds of 1" if self.no_shadow == "d3" else "5 % of non-members"
        return {
            "likelihood": self.no_shadow,
            "known_nonmembers": len(self.reference_),
            "threshold": self.threshold_,
            "threshold_from": origin,
        }

    def warnings(self) -> list[str]:
        """Known non-members that were left out, and the model's own."""
        left_out = f"{self.left_out_} known non-members left out: zero or non-finite embeddings among their views"
        return ([left_out] if self.left_out_ else []) + self.model_.warnings()

    def _features(self, seen: Seen) -> Float32[np.ndarray, "N F"] | None:
        if self.no_shadow not in NEEDS_PIXELS:
            return None
        if seen.pixels is None:
            raise ValueError(f"attack.no_shadow={self.no_shadow} needs the pixels of the images, got none")
        return thumbnails(seen.pixels)

"""A likelihood ratio over several statistics of an image's views at once: lengths, how they vary, and angles (ours).

Which statistics take part is fixed here, before any target is seen; what each is worth is learnt on shadows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack import _pairs
from lpla.attacks.attack._log_norms import PS, LogNorms, mean_of_known
from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.likelihood.calibrated import Calibrated, Likelihood
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.attacks.likelihood.standardise import TIE, standardise
from lpla.contracts.evidence import Labelled, Seen, Statistic
from lpla.contracts.settings import Count, Order, checked
from lpla.extraction.statistic.cosine import Cosine


@checked
class Ensemble(ScalarAttack):
    """Mean log-norm for each p, how much they vary over the views, mean cosine and alignment, weighed by `LinearRatio`.

    `likelihood` as in `Calibrated`; the weights are those for it (pooled over images, or within them). `queries` is the
    budget: with one view there is no pair and no spread, and the log-norms are left. Fitted: `parts_`, `ratio_`.
    """

    def __init__(
        self,
        *,
        ps: Sequence[Order] = PS,
        queries: Count = 10,
        likelihood: Likelihood = "auto",
        tie_variance: bool = True,
    ) -> None:
        self.calibrated = Calibrated(likelihood=likelihood, tie_variance=tie_variance)
        self.queries, self._norms = queries, LogNorms(ps)

    def statistics(self) -> tuple[Statistic, ...]:
        """The log-norms, and the cosines where there are pairs."""
        return (self._norms.statistic, Cosine()) if self.queries > 1 else (self._norms.statistic,)

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """What each part is worth."""
        self.parts_ = tuple(self._parts(shadows[0]))
        per_sample = self.calibrated.chosen(shadows) in PER_SAMPLE
        x, inside = np.stack([self._features(one) for one in shadows]), np.stack([one.member for one in shadows])
        self.ratio_ = LinearRatio(per_sample).fit(x, inside)
        self._set_aside = self._norms.set_aside(shadows)

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """The weighted sum of the parts."""
        return self.ratio_.project(self._features(seen))[:, None]

    def fit_summary(self) -> dict[str, str | int | float]:
        """Those of the calibration, and the parts."""
        return super().fit_summary() | {"parts": ", ".join(self.parts_)}

    def warnings(self) -> list[str]:
        """Those of the calibration, what one view leaves out, and what was set aside."""
        alone = "with one view there are no cosines and no spread: the ensemble is of log-norms alone"
        return super().warnings() + ([alone] if self.queries == 1 else []) + self._set_aside

    def _features(self, seen: Seen) -> Float[np.ndarray, "N F"]:
        """The parts, each on the one scale of `standardise`; nan for an image without a usable view or pair of views.

        How much the views vary is unknown also where they differ by rounding alone: 0, the middle, stands for that.
        """
        parts = {name: standardise(part[:, None]) for name, part in self._parts(seen).items()}
        if "spread" in parts:
            parts["spread"] = np.nan_to_num(parts["spread"])
        return np.concatenate(list(parts.values()), axis=1)

    def _parts(self, seen: Seen) -> dict[str, Float[np.ndarray, " N"]]:
        """By name; nan where an image has none. Means are over the usable views."""
        log_norms = self._norms.all(seen)
        usable = np.asarray(np.isfinite(log_norms).all(axis=2))
        mean = mean_of_known(log_norms, usable[..., None])
        parts = {f"norm {p:g}": one for p, one in zip(self._norms.statistic.ps, mean.T, strict=True)}
        if self.queries > 1:
            level = log_norms.mean(axis=2)
            centred = np.subtract(level, mean.mean(axis=1)[:, None], out=np.zeros(level.shape), where=usable)
            parts["spread"] = _log(np.sqrt(mean_of_known(centred**2, usable)))
            parts |= {"cosine": _pairs.mean_cosine(seen), "alignment": _pairs.mean_distance(seen)}
        return parts


def _log(spread: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Its logarithm; nan where views differ by rounding alone."""
    return np.log(spread, out=np.full(len(spread), np.nan), where=spread > TIE)

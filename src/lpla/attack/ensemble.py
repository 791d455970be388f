"""A likelihood ratio over several statistics of an image's views at once: lengths, how they vary, and angles (ours).

Which statistics take part is fixed here, before any target is seen; what each is worth is learnt on shadows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.attack import _pairs
from lpla.attack._log_norms import LogNorms
from lpla.attack._scalar import ScalarAttack
from lpla.contracts import InputError
from lpla.evidence import Labelled, Seen, Statistic
from lpla.likelihood.calibrated import Calibrated
from lpla.likelihood.combine import LinearRatio
from lpla.likelihood.per_sample import PER_SAMPLE
from lpla.likelihood.standardise import standardise
from lpla.statistic.cosine import Cosine


class Ensemble(ScalarAttack):
    """Mean log-norm for each p, its spread over the views, mean cosine and alignment, weighed by `LinearRatio`.

    `likelihood` as in `Calibrated`; the weights are those for it (pooled over images, or within them). `queries` is the
    budget: with one view there is no pair and no spread, and the log-norms are left. Fitted: `parts_`, `ratio_`.
    """

    def __init__(self, *, ps: Sequence[float], queries: int, likelihood: str, tie_variance: bool) -> None:
        if isinstance(queries, bool) or not isinstance(queries, int) or queries < 1:
            raise InputError(f"attack.queries must be an integer >= 1, got {queries!r}")
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

    def notes(self) -> dict[str, str | int | float]:
        """Those of the calibration, and the parts."""
        return super().notes() | {"parts": ", ".join(self.parts_)}

    def remarks(self) -> list[str]:
        """Those of the calibration, what one view leaves out, and what was set aside."""
        alone = "with one view there are no cosines and no spread: the ensemble is of log-norms alone"
        return super().remarks() + ([alone] if self.queries == 1 else []) + self._set_aside

    def _features(self, seen: Seen) -> Float[np.ndarray, "N F"]:
        """The parts, each on the one scale of `standardise`; 0 where it is unknown."""
        return np.concatenate([standardise(part[:, None]) for part in self._parts(seen).values()], axis=1)

    def _parts(self, seen: Seen) -> dict[str, Float[np.ndarray, " N"]]:
        log_norms = self._norms.all(seen)
        u = np.stack([standardise(log_norms[..., p]) for p in range(log_norms.shape[2])], axis=2)
        unusable = ~np.isfinite(log_norms).any(axis=(1, 2))
        parts = {f"norm {p:g}": mean for p, mean in zip(self._norms.statistic.ps, u.mean(axis=1).T, strict=True)}
        if self.queries > 1:
            parts["spread"] = _log(u.std(axis=1).mean(axis=1))
            parts |= {"cosine": _pairs.mean_cosine(seen), "alignment": _pairs.mean_distance(seen)}
        return {name: np.where(unusable, np.nan, part) for name, part in parts.items()}


def _log(x: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """log x; nan where views do not differ at all."""
    return np.log(x, out=np.full(len(x), np.nan), where=x > 0)

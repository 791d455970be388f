"""RMIA: count how many other images have a less unusual norm than this one (Zarifzadeh et al., arXiv 2312.03262).

The statistic in place of the probability is ours; so is its sign, which shadows' members teach.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._log_norms import PS, LogNorms
from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.likelihood.calibrated import Calibrated
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.attacks.likelihood.rmia import Rmia
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.settings import Order, Orders, Positive, Share, checked
from lpla.extraction.statistic.log_norm import LogNorm


@checked
class RMIA(ScalarAttack):
    """The log-norm for p, judged by the likelihood `Rmia` with `a` and `gamma`."""

    NEEDS = ("shadows",)

    def __init__(self, *, p: Order = 2.0, ps: Orders = PS, a: Share = 0.3, gamma: Positive = 1.0) -> None:
        self.p, self._norms = p, LogNorms([*ps, p])
        models = {**PER_SAMPLE, "rmia": lambda: Rmia(a, gamma)}
        self.calibrated = Calibrated(likelihood="rmia", tie_variance=True, models=models)

    def statistics(self) -> tuple[LogNorm]:
        """Return the log-norms for every p of the sweep, so that one extraction serves them all."""
        return (self._norms.statistic,)

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Count what has no log-norm."""
        self._set_aside = self._norms.set_aside(shadows)

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N Q"]:
        """Return the log-norms for p."""
        return self._norms.of(seen, self.p)

    def warnings(self) -> list[str]:
        """Return the calibration's warnings, and which views of the shadows were set aside."""
        return super().warnings() + self._set_aside

"""Attacks on one number per image that its views' pairwise cosines give."""

from __future__ import annotations

from collections.abc import Sequence

from lpla.attacks.attack import _pairs
from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.likelihood.calibrated import Calibrated
from lpla.contracts.evidence import Labelled
from lpla.extraction.statistic.cosine import Cosine


class PairAttack(ScalarAttack):
    """Judged by `likelihood` as in `Calibrated`; undefined for one view, which has no pair."""

    def __init__(self, *, likelihood: str, tie_variance: bool) -> None:
        self.calibrated = Calibrated(likelihood=likelihood, tie_variance=tie_variance)

    def statistics(self) -> tuple[Cosine]:
        """The cosines of all pairs."""
        return (Cosine(),)

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Count what has no cosine."""
        self._set_aside = _pairs.set_aside(shadows)

    def warnings(self) -> list[str]:
        """Those of the calibration; pairs of the shadows' views that were set aside."""
        return super().warnings() + self._set_aside

"""EncoderMI-T: members' views are more (or less) alike than non-members' (Liu et al., CCS '21, arXiv 2108.11023).

The mean of all pairwise cosines, with a threshold learnt on shadows. Ours: on which side members lie is learnt too, and
`likelihood` may be any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.attack import _pairs
from lpla.attack._scalar import ScalarAttack
from lpla.evidence import Labelled, Seen
from lpla.likelihood.calibrated import Calibrated
from lpla.statistic.cosine import Cosine


class EncoderMIT(ScalarAttack):
    """The mean cosine of an image's views, judged by `likelihood` as in `Calibrated`; undefined for one view."""

    def __init__(self, *, likelihood: str, tie_variance: bool) -> None:
        self.calibrated = Calibrated(likelihood=likelihood, tie_variance=tie_variance)

    def statistics(self) -> tuple[Cosine]:
        """The cosines of all pairs."""
        return (Cosine(),)

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Count what has no cosine."""
        self._set_aside = _pairs.set_aside(shadows)

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """Their mean."""
        return _pairs.mean_cosine(seen)[:, None]

    def remarks(self) -> list[str]:
        """Those of the calibration; pairs of the shadows' views that were set aside."""
        return super().remarks() + self._set_aside

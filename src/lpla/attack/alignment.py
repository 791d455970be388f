"""SSLMem as an attack: members' views lie nearer to the clean image's vector (Wang et al., ICLR '24, arXiv 2401.12233).

SSLMem measures memorisation by how much alignment differs between an encoder that saw the image and one that did not.
Ours: shadows are that reference, the side is learnt, and nothing is divided by the range of the scored images.
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


class Alignment(ScalarAttack):
    """Mean distance of the views' unit vectors to the clean image's, judged by `likelihood`; undefined for one view."""

    def __init__(self, *, likelihood: str, tie_variance: bool) -> None:
        self.calibrated = Calibrated(likelihood=likelihood, tie_variance=tie_variance)

    def statistics(self) -> tuple[Cosine]:
        """The cosines of all pairs, from which the distances to the clean image follow."""
        return (Cosine(),)

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Count what has no cosine."""
        self._set_aside = _pairs.set_aside(shadows)

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """The mean distance."""
        return _pairs.mean_distance(seen)[:, None]

    def remarks(self) -> list[str]:
        """Those of the calibration; pairs of the shadows' views that were set aside."""
        return super().remarks() + self._set_aside

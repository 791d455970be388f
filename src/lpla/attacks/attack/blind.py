"""Blind baseline: an attack on the pixels alone, which must find nothing (as in Das et al., arXiv 2406.16201).

Whatever it finds is a difference between the images of the two groups, not a leak: at anything but 0.5 the split is
broken. Ours: the summaries, and that they are weighed on the shadows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.likelihood.calibrated import Calibrated
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.attacks.likelihood.standardise import TIE
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError
from lpla.data.pixels import summaries


class Blind(ScalarAttack):
    """Attacks by summaries of the pixels alone.

    Norms, mean, deviation, entropy and compressed size become one number, which is pooled over images.
    """

    NEEDS = ("shadows or labels",)

    def __init__(self) -> None:
        self.calibrated = Calibrated(likelihood="class_conditional", tie_variance=True)
        self._last: tuple[object, Float[np.ndarray, "N F"]] = (None, np.empty((0, 0)))

    def looks_at_pixels(self) -> bool:
        """Return True: the attack uses the images themselves."""
        return True

    def statistics(self) -> tuple[()]:
        """Name no statistic, as this attack needs no encoder."""
        return ()

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Learn the weights of the summaries."""
        x = np.stack([self._summaries(shadow) for shadow in shadows])
        self._ratio = LinearRatio(per_sample=False).fit(x, np.stack([shadow.member for shadow in shadows]))
        self._shadows_differ = bool(np.ptp(self._ratio.project(x)) > TIE)

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """Compute the weighted sum of an image's summaries."""
        return self._ratio.project(self._summaries(seen))[:, None]

    def warnings(self) -> list[str]:
        """Return the calibration's warnings, and say where nothing could be learnt from the shadows."""
        alike = (
            "the shadows' members and non-members have the same pixels, so no summary could be weighed: scores are ties"
        )
        return super().warnings() + ([] if self._shadows_differ else [alike])

    def _summaries(self, seen: Seen) -> Float[np.ndarray, "N F"]:
        """Summarise the images; shadows and target hold the same array, which is summarised once."""
        if seen.pixels is None:
            raise InputError("attack=blind needs the images' pixels, got none")
        if seen.pixels is not self._last[0]:
            self._last = (seen.pixels, summaries(seen.pixels))
        return self._last[1]

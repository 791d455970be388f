"""What pairwise cosines say of an image in one number: how alike its views are, how far they lie from the clean one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._log_norms import mean_of_known
from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.likelihood.calibrated import Calibrated, Likelihood
from lpla.contracts.evidence import Labelled, Seen
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.whitened import EPS


class PairAttack(ScalarAttack):
    """Judged by `likelihood` as in `Calibrated`; undefined for one view, which has no pair."""

    def __init__(self, *, likelihood: Likelihood, tie_variance: bool) -> None:
        self.calibrated = Calibrated(likelihood=likelihood, tie_variance=tie_variance)

    def statistics(self) -> tuple[Cosine]:
        """The cosines of all pairs."""
        return (Cosine(),)

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Count what has no cosine."""
        self._set_aside = set_aside(shadows)

    def warnings(self) -> list[str]:
        """Those of the calibration; pairs of the shadows' views that were set aside."""
        return super().warnings() + self._set_aside


def mean_cosine(seen: Seen) -> Float[np.ndarray, " N"]:
    """Mean over all pairs of views that have a cosine; nan if none has (EncoderMI-T, arXiv 2108.11023)."""
    cosines = seen.values[Cosine.name]
    return mean_of_known(cosines, ~np.isnan(cosines))


def mean_distance(seen: Seen) -> Float[np.ndarray, " N"]:
    """Mean distance of the views' unit vectors to the clean image's; nan if none has one (SSLMem, arXiv 2401.12233).

    ||a - b|| = sqrt(2 - 2 cos) for unit vectors; the pairs (0, q) stand at q (q - 1) / 2.
    """
    cosines = seen.values[Cosine.name]
    q = np.arange(1, cosines.shape[1] + 1)
    start = q * (q - 1) // 2
    with_clean = cosines[:, start[start < cosines.shape[1]]]
    return mean_of_known(np.sqrt(np.maximum(2 - 2 * with_clean, 0.0)), ~np.isnan(with_clean))


def log_angle(seen: Seen) -> Float[np.ndarray, " N"]:
    """Mean of log(1 - cosine + 1e-6) over all pairs of views that have a cosine; nan if none has (ours)."""
    cosines = seen.values[Cosine.name].astype(np.float64)
    known = ~np.isnan(cosines)
    distance = np.maximum(1.0 - np.where(known, cosines, 0.0), 0.0)
    return mean_of_known(np.log(distance + EPS), known)


def set_aside(shadows: Sequence[Seen]) -> list[str]:
    """The sentence on the shadows' pairs without a cosine; none if all have one."""
    unknown = sum(int(np.isnan(shadow.values[Cosine.name]).sum()) for shadow in shadows)
    what = "pairs of the shadows' views without a cosine (a zero or non-finite embedding), scored as uninformative"
    return [f"{unknown} {what}"] if unknown else []

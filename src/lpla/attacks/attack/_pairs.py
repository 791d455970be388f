"""What pairwise cosines say of an image in one number: how alike its views are, how far they lie from the clean one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._fewer_pairs import completed
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
        self._shadows: list[Labelled] = []

    def statistics(self) -> tuple[Cosine]:
        """The cosines of all pairs."""
        return (Cosine(),)

    @abstractmethod
    def pairs(self, seen: Seen) -> Float[np.ndarray, "N P"]:
        """The number per pair of views that the attack uses; nan where a view is unusable."""

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """Its mean over all pairs; where some are unknown, what the others and the shadows' say of it."""
        others = [] if seen.foreign else [one for one in self._shadows if np.array_equal(one.index, seen.index)]
        # A shadow's own answers do not tell its level.
        references = (one for one in others if one.values is not seen.values)
        pairs = self.pairs(seen)
        if not np.isnan(pairs).any():
            return completed(pairs, [])[:, None]
        return completed(pairs, [self.pairs(one) for one in references])[:, None]

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Count what has no cosine."""
        self._shadows = [one for one in shadows if not one.foreign]
        self._set_aside = set_aside(shadows)

    def warnings(self) -> list[str]:
        """Warnings of the calibration, and pairs of the shadows' views that were set aside."""
        return super().warnings() + self._set_aside


def log_angle(seen: Seen) -> Float[np.ndarray, " N"]:
    """Mean of log(1 - cosine + 1e-6) over all pairs of views that have a cosine; nan if none has (ours)."""
    pairs = log_angles(seen)
    return mean_of_known(pairs, ~np.isnan(pairs))


def cosines(seen: Seen) -> Float[np.ndarray, "N P"]:
    """Compute the cosines of all pairs of views; nan where a view is unusable (EncoderMI-T, arXiv 2108.11023)."""
    return seen.values[Cosine.name]


def distances(seen: Seen) -> Float[np.ndarray, "N q"]:
    """Compute distances of the views' unit vectors to the clean image's, nan if unusable (SSLMem, arXiv 2401.12233).

    ||a - b|| = sqrt(2 - 2 cos) for unit vectors; the pairs (0, q) stand at q (q - 1) / 2.
    """
    found = cosines(seen)
    q = np.arange(1, found.shape[1] + 1)
    start = q * (q - 1) // 2
    return np.sqrt(np.maximum(2 - 2 * found[:, start[start < found.shape[1]]], 0.0))


def log_angles(seen: Seen) -> Float[np.ndarray, "N P"]:
    """log(1 - cosine + 1e-6) of all pairs of views; nan where a view is unusable."""
    return np.log(np.maximum(1.0 - cosines(seen).astype(np.float64), 0.0) + EPS)


def set_aside(shadows: Sequence[Seen]) -> list[str]:
    """The sentence on the shadows' pairs without a cosine; none if all have one."""
    unknown = sum(int(np.isnan(shadow.values[Cosine.name]).sum()) for shadow in shadows)
    what = "pairs of the shadows' views without a cosine (a zero or non-finite embedding), scored as uninformative"
    return [f"{unknown} {what}"] if unknown else []

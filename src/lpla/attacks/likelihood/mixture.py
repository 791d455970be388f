"""d3: candidates as a mixture of known non-members and a shifted copy of them, by EM (Dempster, Laird and Rubin 1977).

Transductive, and still blind to labels: the scalars of all candidates are used together, inside `score`.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logit

from lpla.attacks.likelihood.nonmembers import NonMembers, known_means
from lpla.attacks.likelihood.standardise import mean_of_views

SIGNS = {"both": (1, -1), "upper": (1,), "lower": (-1,)}
STARTS = ((0.5, 1.0), (0.1, 3.0))
"""Weight and shift at which EM starts: many members a little way out, few members far out."""
STEPS, CLOSE = 1000, 1e-7
FEWEST = 5
"""Candidates below which a component is outliers, not members."""
CHANCE = 5.99
"""Twice the gain in log-likelihood that two free parameters reach by chance in 5 % of all cases."""


class Mixture(NonMembers):
    """Splits all candidates into non-members and others by a mixture of two normal distributions.

    m_i ~ (1 - w) N(mu, s^2) + w N(mu + shift s, s^2): mu and s of the known non-members, w and shift by EM.

    No solution counts in which the weight or the shift is nothing, so that the likelihood gains no more than chance
    (with n known non-members, as uncertain themselves, beside N candidates) or a handful of outliers make the second
    component: then every score is 0. Found by the last `score`: `weight_`, `shift_` (None: no evidence).
    """

    threshold_ = 0.0
    weight_: float | None = None
    shift_: float | None = None

    def fit(self, known_u: Float[np.ndarray, "n Q"], known_features: Float[np.ndarray, "n F"] | None = None, /) -> Self:
        """Learn the null component, which then stays as it is."""
        mean = known_means(known_u)
        self.known_, self.mu_, self.s_ = len(mean), float(mean.mean()), float(mean.std(ddof=1))
        self.no_evidence_ = False
        return self

    def score(
        self, u: Float[np.ndarray, "N Q"], features: Float[np.ndarray, "N F"] | None = None, /
    ) -> Float[np.ndarray, " N"]:
        """log of the posterior odds of membership, given all candidates."""
        z = (mean_of_views(u) - self.mu_) / (self.s_ or 1.0)
        found = [(sign, *_em(sign * z, *start)) for sign in SIGNS[self.tail] for start in STARTS]
        share = self.known_ / (self.known_ + len(z))
        found = [one for one in found if 2 * one[3] * share > CHANCE and one[1] * len(z) >= FEWEST]
        self.no_evidence_ = not found
        if self.no_evidence_:
            self.weight_ = self.shift_ = None
            return np.zeros(len(z))
        sign, weight, size, _ = max(found, key=lambda one: one[3])
        self.weight_, self.shift_ = weight, sign * size
        return _log_odds(z, weight, sign * size)

    def warnings(self) -> list[str]:
        """Say where all candidates that were scored last resembled known non-members."""
        nothing = "no evidence: the candidates are no mixture of known non-members and others, and every score is 0"
        return [nothing] if self.no_evidence_ else []


def _em(z: Float[np.ndarray, " N"], weight: float, shift: float) -> tuple[float, float, float]:
    """Weight, shift >= 0 and gain in log-likelihood over the null at which EM comes to rest."""
    for _ in range(STEPS):
        member = expit(_log_odds(z, weight, shift))
        before, total = (weight, shift), member.sum()
        weight = float(np.clip(total / len(z), CLOSE, 1 - CLOSE))
        shift = max(float(member @ z / total), 0.0) if total > 0 else 0.0
        if max(abs(weight - before[0]), abs(shift - before[1])) < CLOSE:
            break
    ratio = shift * z - shift**2 / 2
    gain = np.logaddexp(np.log1p(-weight), np.log(weight) + ratio).sum()
    return weight, shift, float(gain)


def _log_odds(z: Float[np.ndarray, " N"], weight: float, shift: float) -> Float[np.ndarray, " N"]:
    return logit(weight) + shift * z - shift**2 / 2

"""A lower bound on epsilon from one run, by guessing within pairs (after Steinke, Nasr & Jagielski, arXiv 2305.08846).

Their canaries enter by independent coins; a balanced layout holds exactly half of its images. The repair is ours: pair
each member with a non-member at random, and given the pairs, which of the two was trained on is a fair coin of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import betaincinv, logit

from lpla.contracts.streams import stream
from lpla.metrics.roc import sides

GUESSED = 0.2
"""Part of the pairs in which the attacker guesses, fixed beforehand; it abstains in the others."""
ALPHA = 0.05


@dataclass(frozen=True)
class EpsilonBound:
    """What the guesses within pairs contradict: an epsilon below `low` (replace-one, 95 % confidence)."""

    low: float
    """Half of it is a bound for add-or-remove."""
    cap: float
    """What so many guesses give at most, all being right."""
    right: int
    guesses: int

    def __str__(self) -> str:
        if not self.low:
            return f"These scores contradict no epsilon (at this size the bound is {self.cap:.2f} at most)."
        return f"These scores contradict an epsilon below {self.low:.2f} (replace-one, 95 %; at most {self.cap:.2f})."


def epsilon_bound(
    score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], seed: int, choices: int = 1
) -> EpsilonBound:
    """Bound the epsilon of a training from below.

    Args:
        score: One score per image, higher = member; which attack, layer and norm it is of was settled beforehand.
        member: Whether each image was trained on, drawn at random with half of the images inside. A list of members
            that somebody hands in is no draw, and gives no bound.
        seed: seed of the random pairs, which do not depend on scores.
        choices: Of so many scores (attacks, layers, norms) these were chosen by what they found; each has its part of
            the 5 % by which a bound may be wrong (Bonferroni).

    Returns:
        The bound: in the fifth of the pairs whose scores differ most the higher one is guessed to be the member's, and
        the part of right guesses is at most e^eps / (1 + e^eps) under eps-differential privacy.
    """
    inside, outside = sides(score, member)
    random = stream("epsilon pairs", seed)
    pairs = min(len(inside), len(outside))
    difference = random.permutation(inside)[:pairs] - random.permutation(outside)[:pairs]
    # The guess between equal scores is a coin.
    difference = np.where(difference == 0, random.choice([-1e-300, 1e-300], pairs), difference)
    guesses = math.ceil(GUESSED * pairs)
    guessed = difference[np.argsort(-np.abs(difference), kind="stable")[:guesses]]
    right = int((guessed > 0).sum())
    low, cap = (_log_odds_above(one, guesses, ALPHA / choices) for one in (right, guesses))
    return EpsilonBound(low, cap, right, guesses)


def contradictions(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say of each row whose scores contradict the epsilon that the training claims that they do.

    A bound may be wrong by chance in 5 % of jobs, and neglects delta; a claim that is right is rarely near its bound.
    """
    found = []
    for row in rows:
        low, claimed = row.get("eps_low"), row.get("claimed_epsilon")
        if low is not None and claimed is not None and low > claimed:
            found.append(
                f"{row['layer']}: attack={row['attack']} contradicts the epsilon of {claimed:.2f} that "
                f"defense={row['defense']} claims: it is at least {low:.2f} (replace-one, 95 %), so that the defence, "
                "its accountant or its training is wrong"
            )
    return found


def _log_odds_above(right: int, guesses: int, alpha: float) -> float:
    """Log odds of Clopper and Pearson's one-sided lower bound of the part of right guesses; 0 if that is below half."""
    low = float(betaincinv(right, guesses - right + 1, alpha)) if right else 0.0
    return max(0.0, float(logit(low))) if low else 0.0

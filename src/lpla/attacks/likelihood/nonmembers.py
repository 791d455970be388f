"""An attacker without shadows: one scalar per view, judged by images known not to be members.

Nothing of a member is known, so neither the sign nor the size of the members' shift can be learnt: the attacker states
a `tail`, `both` where it does not know. All scalars are of the target, standardised by the known non-members.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, Self

import numpy as np
from jaxtyping import Float

from lpla.contracts.inputs import InputError

Tail = Literal["both", "upper", "lower"]
"""Side of the non-members on which members are sought."""
ONE_IN = 20
"""One known non-member in so many is called a member: a false-positive rate of 5 %."""


class NonMembers(ABC):
    """What images known not to be members teach; `features` describe the images whatever the encoder."""

    threshold_: float
    """Score at or above which an image is called a member."""

    def __init__(self, tail: Tail) -> None:
        self.tail: Tail = tail

    @abstractmethod
    def fit(self, known_u: Float[np.ndarray, "n Q"], known_features: Float[np.ndarray, "n F"] | None = None, /) -> Self:
        """Learn from the standardised views of the known non-members; raises InputError if they are fewer than 20."""

    @abstractmethod
    def score(
        self, u: Float[np.ndarray, "N Q"], features: Float[np.ndarray, "N F"] | None = None, /
    ) -> Float[np.ndarray, " N"]:
        """Score every candidate, higher = member."""

    def warnings(self) -> list[str]:
        """Say what a reader of the scores must know."""
        return []


def known_means(known_u: Float[np.ndarray, "n Q"]) -> Float[np.ndarray, " n"]:
    """Means m_i of the known non-members; raises InputError if one in 20 of them is none."""
    check_known(len(known_u))
    return known_u.mean(axis=1)


def check_known(images: int) -> None:
    """Raise InputError if one in 20 of so many known non-members is none."""
    if images < ONE_IN:
        raise InputError(
            f"knowledge.images must give at least {ONE_IN} known non-members with usable embeddings, got {images}"
        )


def in_tail(z: Float[np.ndarray, " N"], tail: Tail) -> Float[np.ndarray, " N"]:
    """Return how far z lies out in the tail: |z|, z or -z."""
    return np.abs(z) if tail == "both" else z if tail == "upper" else -z


def cut_above(score: Float[np.ndarray, " n"]) -> float:
    """The lowest cut at or above which a further non-member falls in at most 5 % of all cases (a conformal bound).

    The stranger is as likely to take any of the n + 1 places among the n known ones; it passes where fewer than
    (n + 1) / 20 of them exceed it, so the cut lies just above the highest score that so many do not.
    """
    return float(np.nextafter(np.sort(score)[len(score) - (len(score) + 1) // ONE_IN], np.inf))

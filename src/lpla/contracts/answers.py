"""What is kept of a service that was asked: each answer by the bytes that were sent, what was sent in all, and facts.

The store has it (`lpla.store.answers`); an encoder that asks a service is given it, and asks for nothing that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

Vector = Float32[np.ndarray, " D"]


@dataclass(frozen=True)
class Counts:
    """What was asked of a service so far, by all runs together."""

    queries: int = 0
    """Images in requests that were sent, but for requests that the service refused before it answered."""
    requests: int = 0
    """Requests that were begun, refused ones and those without a connection among them."""
    answers: int = 0
    """Embeddings that arrived and are kept."""


@runtime_checkable
class KeptAnswers(Protocol):
    """The answers of one service; whatever a method has written outlives a kill of this process."""

    def session(self) -> AbstractContextManager[None]:
        """Let many calls follow, from several threads, which then take less time."""
        ...

    def find(self, digests: Sequence[str], purpose: str = "") -> dict[str, Vector]:
        """Return those of the answers that are kept, by the SHA-256 of the bytes that were sent.

        Args:
            digests: In hexadecimal digits.
            purpose: Tells answers to the same bytes apart that were asked for more than once; empty: the ordinary one.

        Returns:
            Digest -> answer.
        """
        ...

    def digests(self) -> list[str]:
        """Return those of all ordinary answers that are kept."""
        ...

    def reserve(self, queries: int, budget: int | None) -> bool:
        """Count a request of so many images before it is sent; False, and nothing counted, where it is over budget."""
        ...

    def refused(self, queries: int) -> None:
        """Take the images of a request back that the service refused before it answered, or that never reached it."""
        ...

    def keep(self, answers: Mapping[str, Vector], purpose: str = "") -> None:
        """Keep answers, by digest; arguments as of `find`."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what is known of the service: its version, the width of its answers, how they repeat."""
        ...

    def learn(self, **facts: Any) -> dict[str, Any]:
        """Keep those of the facts that are not known yet, and return all that are known."""
        ...

    def counts(self) -> Counts:
        """Return what was asked so far."""
        ...


def short(digest: str) -> int:
    """The first 63 bits of a digest in hexadecimal digits, which an array of whole numbers can hold."""
    return int(digest[:16], 16) >> 1

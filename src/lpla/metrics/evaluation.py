"""Scores and memberships in, everything that can be said of them out: figures with intervals, tests, the verdict."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lpla.contracts.result import InputError
from lpla.metrics.roc import NEEDED_NONMEMBERS, Estimate, Rate, auc, tpr_at
from lpla.metrics.significance import leak_test
from lpla.metrics.verdict import Nulls, verdict


@dataclass(frozen=True)
class Evaluation:
    """What scores say of membership; prints itself as a few lines."""

    auc: Estimate
    rates: tuple[Rate, ...]
    """True-positive rates at the false-positive rates for which there are enough non-members, the highest first."""
    p: float | None
    """P-value of "no leak"; None where no test was possible."""
    members: int
    nonmembers: int
    verdict: str
    """A sentence that begins with `leaks`, `no leak found`, `undecided` or `invalid`."""

    def __str__(self) -> str:
        return "\n".join([self.verdict, *(f"{name:16}  {value}" for name, value in self._lines())])

    def _repr_html_(self) -> str:
        cells = (f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in self._lines())
        return f"<p>{html.escape(self.verdict)}</p><table>{''.join(cells)}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        found = [("AUC", self.auc), *((f"TPR at {one.requested_fpr:.1%} FPR", one) for one in self.rates)]
        lines = [(name, f"{one.value:.3f} [{one.low:.3f} {one.high:.3f}]") for name, one in found]
        p = [] if self.p is None else [("p of no leak", f"{self.p:.2g}")]
        return [*lines, *p, ("members", str(self.members)), ("non-members", str(self.nonmembers))]


def evaluate(score: Any, member: Any) -> Evaluation:
    """Evaluate scores of any attack on images whose membership is known.

    Args:
        score: [N] numbers, one for each image, higher = member.
        member: [N] booleans (or 0 and 1), whether each image was in the training set.

    Returns:
        The figures with their intervals, the p-value of both tests, and the verdict, which rests on the
        scores alone: on no untrained encoder, no pixels and no views.

    Raises:
        InputError: If the arrays are not one real number (infinite ones stand above or below all others) and one label
            per image, or one of the groups is empty.
    """
    scores, inside = numbers(score, "score"), _labels(member)
    if scores.shape != inside.shape or scores.ndim != 1:
        got = f"{scores.shape} and {inside.shape}"
        raise InputError(f"score and member must be arrays of one length, an element per image, got shapes {got}")
    rates = tuple(rate for fpr in NEEDED_NONMEMBERS if (rate := tpr_at(scores, inside, fpr)))
    area, test = auc(scores, inside), leak_test(scores, inside)
    said = verdict(scores, inside, Nulls())
    members, nonmembers = int(inside.sum()), int((~inside).sum())
    return Evaluation(area, rates, None if test.undecided else test.p, members, nonmembers, said)


def numbers(value: Any, name: str) -> Float[np.ndarray, "..."]:
    """An array of real numbers from what a user gave as `name`; raises InputError for anything else and for NaN."""
    found = _array(value, name, "numbers")
    if found.dtype.kind not in "biufO":
        raise InputError(f"{name} must be an array of numbers, got {type(value).__name__} of {found.dtype.name}")
    try:
        found = found.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as unreadable:
        raise InputError(f"{name} must be an array of numbers, got {type(value).__name__}") from unreadable
    if unknown := int(np.isnan(found).sum()):
        raise InputError(f"{name} must hold a number for every image, got {unknown} NaN of {found.size}")
    return found


def _labels(member: Any) -> Bool[np.ndarray, "..."]:
    found = _array(member, "member", "booleans")
    held = [] if found.dtype == bool else found.ravel().tolist()
    if any(one not in (0, 1) for one in held):
        got = ", ".join(list(dict.fromkeys(map(repr, held)))[:5])
        raise InputError(f"member must be true or false (1 or 0) for every image, got [{got}]")
    return found.astype(bool)


def _array(value: Any, name: str, kind: str) -> np.ndarray:
    """Whatever numpy can read, of a tensor its refusal (one that is on a GPU or has a gradient) in a sentence."""
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as refused:
        why = " ".join(str(refused).split())
        raise InputError(f"{name} must be an array of {kind}, got {type(value).__name__} ({why})") from refused

"""What the rows of a sweep say together: which leak although there are many, and how many chance makes invalid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lpla.contracts.settings import listed
from lpla.metrics.significance import holm
from lpla.metrics.verdict import INVALID_BY_CHANCE
from lpla.report.rows import Row, chosen_columns, distinct, label

FAMILY_LEVEL = 0.05
"""Probability, at most, that any row of a sweep without a leak is said to leak."""


def leaking(rows: Sequence[Row]) -> list[Row]:
    """The rows that leak by Holm's procedure over all rows on which a test was possible and no null failed."""
    tested = _tested(rows)
    return [row for row, p in zip(tested, holm([row["leak_p"] for row in tested]), strict=True) if p < FAMILY_LEVEL]


def recipe_p(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """Every row whose recipe was tested, and Holm's p-value of "no leak of the recipe" over all of them."""
    tested = [
        (row, min(row["recipe_leak_p"], row["recipe_rank_p"]))
        for row in distinct(rows)
        if None not in (row.get("recipe_leak_p"), row.get("recipe_rank_p"))
    ]
    own = [min(1.0, 2 * p) for _, p in tested]
    return [(row, float(p)) for (row, _), p in zip(tested, holm(own), strict=True)]


def tally(rows: Sequence[Row]) -> list[str]:
    """Sentences on the rows of a sweep (failed jobs aside): their verdicts, the leaks among them, the invalid ones.

    An undecided row is counted as such, never among those in which no leak was found. Rows that repeat another one are
    counted once.
    """
    given, rows = len(rows), distinct(rows)
    verdicts = Counter(str(row.get("verdict", "")).partition(":")[0] or "undefined" for row in rows)
    found = [", ".join(f"{one}: {count} of {len(rows)} rows" for one, count in verdicts.most_common())]
    tested, leaks, columns = _tested(rows), leaking(rows), chosen_columns(rows)
    if tested:
        which = f" ({listed([label(row, columns) for row in leaks])})" if leaks else ""
        found.append(f"{len(leaks)} of {len(tested)} rows leak, Holm {FAMILY_LEVEL:.0%}{which}")
    if given > len(rows):
        why = "their attack looks neither at p nor at the number of queries where these alone differ"
        found.append(f"{given - len(rows)} of {given} rows repeat another one and are not counted: {why}")
    # A row of an attack that does not exist has no nulls.
    looked_at = sum(bool(row.get("verdict")) and row.get("auc", 0) is not None for row in rows)
    if looked_at > 1:
        # Rounded up, as it is a bound.
        expected = math.ceil(100 * INVALID_BY_CHANCE * looked_at) / 100
        invalid = f"{verdicts['invalid']} of {looked_at} rows are invalid"
        found.append(f"{invalid}; where nothing is wrong, chance makes {expected:.2f} of them so, at most")
    return found + _unlike_exposures(rows)


def _unlike_exposures(rows: Sequence[Row]) -> list[str]:
    """A sentence if targets of as many epochs saw their members unequally often, which no choice of theirs says."""
    shown: dict[Any, set[float]] = {}
    for row in rows:
        if row.get("exposure") is not None:
            shown.setdefault(row.get("epochs"), set()).add(round(row["exposure"], 6))
    found = [
        f"{min(one):.1f} to {max(one):.1f} times in {epochs} epochs" for epochs, one in shown.items() if len(one) > 1
    ]
    if not found:
        return []
    remedy = "members that are multiples of train.batch_size are all shown once an epoch"
    return [f"the targets saw each of their members unequally often ({'; '.join(found)}): {remedy}"]


def _tested(rows: Sequence[Row]) -> list[Row]:
    """Rows, each once, of which the verdict rests on a test."""
    return [
        row
        for row in distinct(rows)
        if row.get("leak_p") is not None and not str(row.get("verdict", "")).startswith("invalid")
    ]

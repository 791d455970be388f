"""What the rows of a sweep say together: which leak although there are many, and how many chance makes invalid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from lpla.metrics.significance import holm
from lpla.metrics.verdict import INVALID_BY_CHANCE
from lpla.report.rows import Row, chosen_columns, label

FAMILY_LEVEL = 0.05
"""Probability, at most, that any row of a sweep without a leak is said to leak."""


def leaking(rows: Sequence[Row]) -> list[Row]:
    """The rows that leak by Holm's procedure over all rows on which a test was possible and no null failed."""
    tested = _tested(rows)
    return [row for row, p in zip(tested, holm([row["leak_p"] for row in tested]), strict=True) if p < FAMILY_LEVEL]


def tally(rows: Sequence[Row]) -> list[str]:
    """Sentences on the rows of a sweep (failed jobs aside): their verdicts, the leaks among them, the invalid ones.

    An undecided row is counted as such, never among those in which no leak was found.
    """
    verdicts = Counter(str(row.get("verdict", "")).partition(":")[0] or "undefined" for row in rows)
    found = [", ".join(f"{one}: {count} of {len(rows)} rows" for one, count in verdicts.most_common())]
    tested, leaks, columns = _tested(rows), leaking(rows), chosen_columns(rows)
    if tested:
        which = f" ({'; '.join(label(row, columns) for row in leaks)})" if leaks else ""
        found.append(f"{len(leaks)} of {len(tested)} rows leak, Holm {FAMILY_LEVEL:.0%}{which}")
    looked_at = sum(bool(row.get("verdict")) for row in rows)
    if looked_at > 1:
        # Rounded up, as it is a bound.
        expected = math.ceil(100 * INVALID_BY_CHANCE * looked_at) / 100
        invalid = f"{verdicts['invalid']} of {looked_at} rows are invalid"
        found.append(f"{invalid}; where nothing is wrong, chance makes {expected:.2f} of them so, at most")
    return found


def _tested(rows: Sequence[Row]) -> list[Row]:
    """Rows of which the verdict rests on a test."""
    return [
        row for row in rows if row.get("leak_p") is not None and not str(row.get("verdict", "")).startswith("invalid")
    ]

"""How many rows of a sweep say what: verdicts, leaks, rows that repeat another one, invalid rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lpla.contracts.settings import listed
from lpla.metrics.verdict import INVALID_BY_CHANCE
from lpla.report.family import FAMILY_LEVEL, by_encoder, leaking, tested
from lpla.report.rows import Row, distinct, short_label, telling, word


def tally(rows: Sequence[Row]) -> list[str]:
    """Sentences on the rows of a sweep (failed jobs aside): their verdicts, the leaks among them, the invalid ones.

    What several rows of one encoder say together, the conclusion says (`lpla.report.conclusion`). An undecided row is
    counted as such, never among those in which no leak was found. Rows that repeat another one are counted once.
    """
    given, rows = len(rows), distinct(rows)
    verdicts = Counter(_word(row) for row in rows)
    found = [_by_encoders(rows)] if len(rows) == 1 or len(by_encoder(rows)) > 1 else []
    among, columns = tested(rows), telling(rows)
    if among:
        leaks = [short_label(row, columns) for row in leaking(rows) if row.get("leak_p") is not None]
        which = f" ({listed(leaks)})" if leaks else ""
        found.append(f"{len(leaks)} of {len(among)} rows leak, Holm {FAMILY_LEVEL:.0%}{which}")
    if given > len(rows):
        why = "they differ from it in p or in the number of queries alone, which their attack does not use"
        found.append(f"{given - len(rows)} of {given} rows repeat another one and are not counted: {why}")
    # A row of an attack that does not exist has no nulls.
    judged = sum(bool(row.get("verdict")) and row.get("auc", 0) is not None for row in rows)
    if judged > 1:
        # Rounded up, as it is a bound.
        expected = math.ceil(100 * INVALID_BY_CHANCE * judged) / 100
        invalid = f"{verdicts['invalid']} of {judged} rows are invalid"
        found.append(f"{invalid}; where nothing is wrong, chance makes {expected:.2f} of them so, at most")
    return found + _unlike_exposures(rows)


def _by_encoders(rows: Sequence[Row]) -> str:
    """How many encoders have which verdict by their rows' own tests; where each has one row, how many rows."""
    encoders = by_encoder(rows)
    worst = ("leaks", "invalid", "undecided")
    words = Counter(next((one for one in worst if one in map(_word, group)), _word(group[0])) for group in encoders)
    of = f"{len(rows)} rows" if len(encoders) == len(rows) else f"{len(encoders)} encoders"
    more = "" if len(encoders) == len(rows) else f" ({len(rows)} rows)"
    counted = ", ".join(f"{one}: {count} of {of}" for one, count in words.most_common())
    return counted + more if len(rows) == 1 else f"each row by itself: {counted}{more}"


def _word(row: Row) -> str:
    return word(row) or "undefined"


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

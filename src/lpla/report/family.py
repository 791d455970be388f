"""What the rows of a sweep say together: which leak although there are many, and how many chance makes invalid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lpla.contracts.settings import listed
from lpla.metrics.significance import holm
from lpla.metrics.verdict import INVALID_BY_CHANCE
from lpla.report.rows import OF_ATTACKER, SETTINGS, Row, cell, distinct, short_label, target_choices, telling, word

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
    verdicts = Counter(_word(row) for row in rows)
    found = [statement(rows) or _by_encoders(rows)]
    tested, leaks, columns = _tested(rows), leaking(rows), telling(rows)
    if tested:
        which = f" ({listed([short_label(row, columns) for row in leaks])})" if leaks else ""
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


def statement(rows: Sequence[Row]) -> str:
    """The verdict on an encoder, of which there are several rows; empty for one row, and for several encoders."""
    rows = distinct(rows)
    if len(rows) < 2 or len(by_encoder(rows)) > 1:
        return ""
    words = Counter(map(_word, rows))
    names, sure = telling(rows), certain(rows)
    said = [short_label(row, names) for row in rows if _word(row) == "leaks"]
    which = f"{len(said)} of {len(rows)} rows say so ({listed(said, most=3)})"
    if sure:
        fewer = f", {len(sure)} of them after Holm's correction for {len(rows)} rows"
        return f"the encoder leaks: {which}" + (fewer if len(sure) < len(said) and not _paid(rows) else "")
    if said:
        p = f" (p = {paid:.2g} for the strongest, its choice paid for)" if (paid := _paid(rows)) else ""
        return f"it is undecided whether the encoder leaks: {which}, as so many rows may by chance{p}"
    if words["no leak found at this sample size"] == len(rows):
        return f"no leak of the encoder found at this sample size, in any of {len(rows)} rows"
    return "of the encoder: " + ", ".join(f"{one}: {count} of {len(rows)} rows" for one, count in words.most_common())


def certain(rows: Sequence[Row]) -> list[Row]:
    """The rows of one encoder whose leak outlasts that they are many; those of earlier editions do not say.

    Where one of them was chosen among all attacks, that row alone, if its p-value pays for the choice.
    """
    if (paid := _paid(rows)) is not None:
        return [row for row in rows if row.get("choice_p") is not None and paid < FAMILY_LEVEL]
    return outlasting(rows)


def outlasting(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that leak also among so many; rows of earlier editions, without a p-value, keep their verdict."""
    among = leaking(rows)
    return [
        row for row in rows if word(row) == "leaks" and (row.get("leak_p") is None or any(one is row for one in among))
    ]


def by_encoder(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each encoder: layers, attacks and what an attacker knows make none of their own."""
    makes = [name for name in target_choices() if name != "layer"]
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        ours = [one for one in row.get(SETTINGS, ()) if not one.lstrip("+~").startswith(OF_ATTACKER)]
        found.setdefault((*(cell(row.get(name)) for name in makes), *ours), []).append(row)
    return list(found.values())


def _by_encoders(rows: Sequence[Row]) -> str:
    """How many encoders, or rows where each is of its own, have which verdict; an encoder leaks if a row says so."""
    encoders = by_encoder(rows)
    worst = ("leaks", "invalid", "undecided")
    words = Counter(next((one for one in worst if one in map(_word, group)), _word(group[0])) for group in encoders)
    of = f"{len(rows)} rows" if len(encoders) == len(rows) else f"{len(encoders)} encoders"
    more = "" if len(encoders) == len(rows) else f" ({len(rows)} rows)"
    return ", ".join(f"{one}: {count} of {of}" for one, count in words.most_common()) + more


def _paid(rows: Sequence[Row]) -> float | None:
    """The p-value of the strongest of several attacks of one job; None where there is none, or several."""
    found = [row["choice_p"] for row in rows if row.get("choice_p") is not None]
    return found[0] if len(found) == 1 and len({row.get("job") for row in rows}) == 1 else None


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


def _tested(rows: Sequence[Row]) -> list[Row]:
    """Rows, each once, of which the verdict rests on a test."""
    return [
        row
        for row in distinct(rows)
        if row.get("leak_p") is not None and not str(row.get("verdict", "")).startswith("invalid")
    ]

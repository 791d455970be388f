"""Which rows of a sweep leak although there are many of them, and which rows are of one encoder."""

from __future__ import annotations

from collections.abc import Sequence

from lpla.metrics.significance import holm
from lpla.report.rows import OF_ATTACKER, SETTINGS, Row, cell, distinct, target_choices, word

FAMILY_LEVEL = 0.05
"""Probability, at most, that any row of a sweep without a leak is said to leak."""


def leaking(rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose verdict is a leak also by Holm's procedure over all tested rows.

    Rows of earlier editions, which have no p-value, keep their verdict.
    """
    among = tested(rows)
    p = {id(row): own for row, own in zip(among, holm([row["leak_p"] for row in among]), strict=True)}
    return [row for row in distinct(rows) if word(row) == "leaks" and p.get(id(row), 0.0) < FAMILY_LEVEL]


def tested(rows: Sequence[Row]) -> list[Row]:
    """Return the rows, each once, on which a test of "no leak" was possible and no null failed."""
    return [row for row in distinct(rows) if row.get("leak_p") is not None and word(row) != "invalid"]


def recipe_p(rows: Sequence[Row]) -> list[tuple[Row, float]]:
    """Every row whose recipe was tested, and Holm's p-value of "no leak of the recipe" over all of them."""
    found = [
        (row, min(row["recipe_leak_p"], row["recipe_rank_p"]))
        for row in distinct(rows)
        if None not in (row.get("recipe_leak_p"), row.get("recipe_rank_p"))
    ]
    own = [min(1.0, 2 * p) for _, p in found]
    return [(row, float(p)) for (row, _), p in zip(found, holm(own), strict=True)]


def by_encoder(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of each encoder: layers, attacks and what an attacker knows make none of their own."""
    makes = [name for name in target_choices() if name != "layer"]
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        ours = [one for one in row.get(SETTINGS, ()) if not one.lstrip("+~").startswith(OF_ATTACKER)]
        found.setdefault((*(cell(row.get(name)) for name in makes), *ours), []).append(row)
    return list(found.values())

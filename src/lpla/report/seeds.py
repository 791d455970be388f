"""What a sweep over seeds says together: median and range of the rows that differ in the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lpla.contracts.result import columns
from lpla.report.rows import Row, cell, choices, differing, interval


def _same() -> list[str]:
    """The choices in which rows must agree to be taken together."""
    return [c for c in choices() if c != "seed"]


def _figures() -> dict[str, str]:
    """Name -> heading of what is said over the seeds."""
    return {name: one.heading for name, one in columns(headed=True).items() if one.over_seeds}


def aggregate(rows: Sequence[Row]) -> list[Row]:
    """One row per setting with at least two seeds; a figure that one of the seeds lacks is None.

    Two rows of the same setting and seed differ in something that rows do not hold: such a setting is left out.
    """
    settings: dict[tuple[str, ...], list[Row]] = {}
    same = _same()
    for row in rows:
        if not row.get("error"):
            settings.setdefault(tuple(cell(row.get(c)) for c in same), []).append(row)
    found = []
    for group in settings.values():
        seeds = {row["seed"] for row in group}
        if len(seeds) == len(group) > 1:
            shared = {c: group[0].get(c) for c in same if c in group[0]}
            found.append(shared | {"seeds": len(seeds)} | _ranges(group))
    return found


def _ranges(group: Sequence[Row]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in _figures():
        values = [row.get(name) for row in group]
        for end, summary in {"median": median, "min": min, "max": max}.items():
            found[f"{name}_{end}"] = None if None in values else summary(values)
    return found


def render(rows: Sequence[Row]) -> Table:
    """The aggregated rows as a terminal table."""
    different = differing(rows, _same())
    chosen = [c for c in _same() if c in different or c == "layer"]
    table = Table(title=Text("over the seeds: median [lowest highest]"), title_justify="left", box=SIMPLE_HEAD)
    for column in chosen:
        table.add_column(column, no_wrap=True)
    for heading in ("seeds", *_figures().values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = (interval(*(row[f"{name}_{end}"] for end in ("median", "min", "max"))) for name in _figures())
        table.add_row(*(Text(cell(row.get(c))) for c in chosen), str(row["seeds"]), *figures)
    return table

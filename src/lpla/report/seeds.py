"""What a sweep over seeds says together: median and range of the rows that differ in the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lpla.report.table import CHOICES, Row, cell, differing, interval

FIGURES = {"auc": "AUC", "tpr_at_5pct": "TPR@5%", "knn_accuracy": "kNN"}
SAME = tuple(c for c in CHOICES if c != "seed")


def aggregate(rows: Sequence[Row]) -> list[Row]:
    """One row per setting with at least two seeds; a figure that one of the seeds lacks is None.

    Two rows of the same setting and seed differ in something that rows do not hold: such a setting is left out.
    """
    settings: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if not row.get("error"):
            settings.setdefault(tuple(cell(row.get(c)) for c in SAME), []).append(row)
    found = []
    for group in settings.values():
        seeds = {row["seed"] for row in group}
        if len(seeds) == len(group) > 1:
            choices = {c: group[0].get(c) for c in SAME if c in group[0]}
            found.append(choices | {"seeds": len(seeds)} | _ranges(group))
    return found


def _ranges(group: Sequence[Row]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in FIGURES:
        values = [row.get(name) for row in group]
        for end, summary in {"median": median, "min": min, "max": max}.items():
            found[f"{name}_{end}"] = None if None in values else summary(values)
    return found


def render(rows: Sequence[Row]) -> Table:
    """The aggregated rows as a terminal table."""
    different = differing(rows, SAME)
    columns = [c for c in SAME if c in different or c == "layer"]
    table = Table(title=Text("over the seeds: median [lowest highest]"), title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for heading in ("seeds", *FIGURES.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        figures = (interval(*(row[f"{name}_{end}"] for end in ("median", "min", "max"))) for name in FIGURES)
        table.add_row(*(Text(cell(row.get(c))) for c in columns), str(row["seeds"]), *figures)
    return table

"""What a sweep over seeds says of the recipe: the rows that differ in the seed alone are targets of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields

from rich.table import Table

from lpla.contracts.result import columns
from lpla.metrics.targets import OverTargets, error_of, over_targets
from lpla.report.rows import Row, cell, choices, differing, interval, number, short_label, telling
from lpla.report.table import Strings, shared_choices
from lpla.report.terminal import WIDEST, as_table


def same() -> list[str]:
    """The choices in which rows must agree to be taken together."""
    return [c for c in choices() if c != "seed"]


def _figures() -> dict[str, str]:
    """Name -> heading of what is said over the seeds."""
    return {name: one.heading for name, one in columns(headed=True).items() if one.over_seeds}


def by_setting(rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of every setting with at least two seeds.

    Two rows of the same setting and seed differ in something that rows do not hold: such a setting is left out.
    """
    settings: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if not row.get("error"):
            settings.setdefault(tuple(cell(row.get(c)) for c in same()), []).append(row)
    return [group for group in settings.values() if len({row["seed"] for row in group}) == len(group) > 1]


def aggregate(rows: Sequence[Row]) -> list[Row]:
    """One row per setting with at least two seeds (`by_setting`); a figure that one of the seeds lacks is None."""
    return [
        {c: group[0].get(c) for c in same() if c in group[0]} | {"seeds": len(group)} | _ranges(group)
        for group in by_setting(rows)
    ]


def _ranges(group: Sequence[Row]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in _figures():
        values = [row.get(name) for row in group]
        there = [value for value in values if value is not None]
        whole = len(there) == len(values)
        errors = [error_of(row.get(name), row.get(f"{name}_low"), row.get(f"{name}_high")) for row in group]
        together = asdict(over_targets(there, errors)) if whole else {}
        found |= {f"{name}_{one.name}": together.get(one.name) for one in fields(OverTargets)}
        found |= {f"{name}_min": min(there) if whole else None, f"{name}_max": max(there) if whole else None}
    return found


SHORT_CAPTION = (
    "Mean over the targets of the seeds, [95 % interval of the recipe, Student's t]; next: where one further target "
    "falls with 95 %. There is no interval from 2 targets."
)
CAPTION = f"{SHORT_CAPTION} spread: deviation between targets without the image error"


def as_cells(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings of the aggregated rows, and their cells."""
    different = differing(rows, same())
    chosen = [c for c in same() if c in different or c == "layer"]
    headings = [f"{heading}{end}" for heading in _figures().values() for end in (" [95 %]", " next", " spread")]
    cells = []
    for row in rows:
        figures = []
        for name in _figures():
            mean, low, high, first, last, spread = (row[f"{name}_{one.name}"] for one in fields(OverTargets))
            further = "-" if first is None else f"[{number(first)} {number(last)}]"
            figures += [number(mean) if low is None else interval(mean, low, high), further, number(spread)]
        cells.append((*(cell(row.get(c)) for c in chosen), str(row["seeds"]), *figures))
    kept = [place for place in range(len(chosen) + 1 + len(headings))
            if place <= len(chosen) or any(one[place] != "-" for one in cells)]  # fmt: skip
    header = (*chosen, "seeds", *headings)
    return tuple(header[place] for place in kept), [tuple(one[place] for place in kept) for one in cells]


def as_few_cells(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Make the columns for which a terminal has room: what differs, seeds, AUC, where the next is, TPR at 5 % FPR."""
    names = [c for c in telling(rows) if c != "seed"]
    cells = []
    for row in rows:
        first, last = row["auc_next_low"], row["auc_next_high"]
        further = "-" if first is None else f"[{number(first)} {number(last)}]"
        auc, tpr = (_mean(row, name) for name in ("auc", "tpr_at_5pct"))
        cells.append((short_label(row, names), str(row["seeds"]), auc, further, tpr))
    return ("setting", "seeds", "AUC [95 %]", "AUC next", "TPR at 5 % FPR"), cells


def for_paper(rows: Sequence[Row]) -> Strings:
    """Make the small table of a paper: a column for each choice that differs, the seeds, mean AUC and TPR."""
    names = [c for c in telling(rows) if c != "seed"]
    figures = {"AUC [95 %]": "auc", "TPR at 5 % FPR [95 %]": "tpr_at_5pct"}
    kept = {head: name for head, name in figures.items() if any(_mean(row, name) != "-" for row in rows)}
    cells = tuple(
        (*(cell(row.get(c)) for c in names), str(row["seeds"]), *(_mean(row, name) for name in kept.values()))
        for row in rows
    )
    caption = (
        f"Membership attacks ({shared_choices(rows)}): mean over the seeds, in brackets the recipe's 95 % interval by "
        "Student's t. A guess has an AUC of .500 and a TPR of .050."
    )
    return Strings("over the seeds", len(names) + 1, (*names, "seeds", *kept), cells, caption)


def _mean(row: Row, name: str) -> str:
    """The mean of a figure over the seeds, with the interval of the recipe where there is one."""
    mean, low, high = (row[f"{name}_{end}"] for end in ("mean", "low", "high"))
    return number(mean) if low is None else interval(mean, low, high)


def render(rows: Sequence[Row], wide: int = WIDEST) -> Table:
    """The aggregated rows as a terminal table; all their figures are in `seeds.csv` and on the page."""
    header, cells = as_few_cells(rows)
    return as_table(Strings("over the seeds", 1, header, tuple(cells), SHORT_CAPTION), wide)

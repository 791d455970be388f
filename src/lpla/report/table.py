"""Result rows as a table of strings: all columns for files, and the six that a reader needs first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lpla.contracts.column import Column
from lpla.contracts.result import columns
from lpla.report.rows import SETTINGS, Row, cell, choices, chosen_columns, interval, number, short_label, telling, word

WHICH_WAY = "Higher is worse; a guess has an AUC of .500 and names 5 % of the members. Brackets: 95 % intervals."
"""Under the six columns, whose headings alone do not say which way is bad."""
SHORT = {"no leak found at this sample size": "no leak found"}
"""Verdicts whose first words would widen a column."""


@dataclass(frozen=True)
class Strings:
    """A table as it is printed, whatever prints it: what the rows share, the headings, the cells, what to know."""

    title: str
    choices: int
    """How many of the columns, the first, say what was chosen; the others are figures."""
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str


def as_strings(rows: Sequence[Row]) -> Strings:
    """All columns of the measured jobs' rows, of which there is at least one; an undefined attack's cells are "-"."""
    chosen, known = chosen_columns(rows), columns("choice")
    figures = _shown_figures(rows)
    headings = (known[c].heading if c in known else c for c in chosen)
    header = (*headings, *(f"{f.heading} [95 %]" if name == "auc" else f.heading for name, f in figures.items()))
    cells = [
        (*(cell(row.get(c)) for c in chosen), *(_figure(row, name, f) for name, f in figures.items())) for row in rows
    ]
    words = "; ".join(f"{one.heading}: {one.sentence.rstrip('.')}" for one in figures.values())
    caption = f"{counts(rows)}. Brackets hold 95 % intervals. {words}."
    return Strings(shared_choices(rows), len(chosen), header, tuple(cells), caption)


def six(rows: Sequence[Row]) -> Strings:
    """The columns that a reader needs first: attack, layer, AUC, TPR at 5 % FPR, the recipe or the nulls, the verdict.

    A column of which no row has a figure is left out; what else tells rows apart stands behind the attack's name.
    """
    names = [c for c in telling(rows) if c not in ("attack", "layer")]
    figures: dict[str, Callable[[Row], str]] = {
        "AUC [95 %]": lambda row: _with_interval(row, "auc"),
        "TPR at 5 % FPR": lambda row: _with_interval(row, "tpr_at_5pct"),
    }
    if any(row.get("recipe_auc") is not None for row in rows):
        figures["recipe AUC"] = lambda row: _with_interval(row, "recipe_auc")
    else:
        figures["farthest null"] = farthest_null
    cells = {heading: [figure(row) for row in rows] for heading, figure in figures.items()}
    kept = [heading for heading in figures if heading == "AUC [95 %]" or any(one != "-" for one in cells[heading])]
    header = ("attack", "layer", *kept, "verdict")
    body = [
        (
            short_label(row, ["attack", *names]),
            cell(row.get("layer")),
            *(cells[one][place] for one in kept),
            _short_word(row),
        )
        for place, row in enumerate(rows)
    ]
    return Strings(shared_choices(rows), 2, header, tuple(body), f"{WHICH_WAY} {counts(rows)}.")


def _short_word(row: Row) -> str:
    """The verdict without its numbers, as a column has room for it."""
    return SHORT.get(word(row), word(row)) or "-"


def farthest_null(row: Row) -> str:
    """The AUC, of those that must be 0.5, that is the farthest from it, and which null that is."""
    known = {name: one.heading for name, one in columns("null", headed=True).items() if name.endswith("auc")}
    there = {heading: row[name] for name, heading in known.items() if row.get(name) is not None}
    if not there:
        return "-"
    heading = max(there, key=lambda one: abs(there[one] - 0.5))
    return f"{number(there[heading])} {heading}"


def counts(rows: Sequence[Row]) -> str:
    """On how many images the rows rest, and how many views of them all were sent to the target."""
    sides = " or ".join(sorted({f"{row['members']} members against {row['nonmembers']} non-members" for row in rows}))
    views = " or ".join(f"{count:,}" for count in sorted({row["target_queries"] for row in rows}))
    return f"{sides}; {views} views sent to the target"


def verdicts(rows: Sequence[Row]) -> dict[str, str]:
    """Every verdict once, with the rows that it is passed on; those of the recipe after those of the targets."""
    return _verdicts(rows, "verdict") | _verdicts(rows, "recipe_verdict")


def _verdicts(rows: Sequence[Row], column: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    names = telling(rows) if rows else []
    for row in rows:
        if row.get(column):
            found.setdefault(row[column], []).append(short_label(row, names))
    everything = len(rows) > 1 and len(found) == 1 and len(*found.values()) == len(rows)
    return {verdict: "all rows" if everything else "; ".join(labels) for verdict, labels in found.items()}


def shared_choices(rows: Sequence[Row]) -> str:
    """Write the choices in which all rows agree, as NAME=VALUE."""
    chosen = chosen_columns(rows)
    shared = [c for c in choices() if c not in (*chosen, SETTINGS) and rows[0].get(c) not in (None, "")]
    return " ".join(f"{name}={cell(rows[0][name])}" for name in shared)


def _shown_figures(rows: Sequence[Row]) -> dict[str, Column]:
    """The AUC, and every other figure, utility and null that one of the rows has."""
    found = columns("figure", "utility", "null", headed=True)
    return {name: f for name, f in found.items() if name == "auc" or any(row.get(name) is not None for row in rows)}


def _figure(row: Row, name: str, figure: Column) -> str:
    return _with_interval(row, name) if figure.interval else number(row.get(name))


def _with_interval(row: Row, name: str) -> str:
    return interval(*(row.get(name + end) for end in ("", "_low", "_high")))

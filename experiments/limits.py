"""How few shadows and how few queries suffice: what attacks find against both, every encoder the target in turn.

`make reproduce-limits`, or `python -m experiments.limits [KEY=VALUE ...] [--render FOLDER]`. The attacks are options of
`experiment/contender`; of every seed so many encoders are trained as the largest jury needs, and no more.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments import _cells as cells
from experiments._origin import origin
from experiments._reproduce import reproduce
from lpla.metrics.roc import Estimate
from lpla.metrics.rotation import Recipe
from lpla.report import formats
from lpla.report.outputs import overrides
from lpla.report.rows import Row, interval, read_rows, word, write_csv

FIGURES = {"tpr_at_5pct": "TPR at 5 % FPR", "tpr_at_1pct": "TPR at 1 % FPR", "auc": "AUC"}
"""What is found, a table each."""
Line = tuple[str, str, int]
"""Contender, layer, queries."""


@dataclass(frozen=True)
class Cell:
    """The rows of all seeds under one contender with one budget and one size of the juries."""

    line: Line
    jury: int
    rows: Sequence[Row]
    recipe: Recipe | None

    def text(self, figure: str, notes: cells.Notes) -> str:
        """The figure with its interval; where there is none, the number of the sentence that says why."""
        found: Estimate | None = getattr(self.recipe, figure, None)
        if found is None:
            return f"- {notes.refer(cells.undefined(self.rows))}".strip()
        invalid = any(word(row) == "invalid" for row in self.rows)
        return interval(found.value, found.low, found.high) + (f" {cells.INVALID}" if invalid else "")

    def record(self) -> Row:
        """A flat row."""
        contender, layer, queries = self.line
        seeds = " ".join(str(row["seed"]) for row in self.rows)
        found: dict[str, object] = {"contender": contender, "layer": layer, "queries": queries, "jury": self.jury}
        found |= {"seeds": seeds, "targets": self.recipe and self.recipe.targets}
        for name in FIGURES:
            one: Estimate | None = getattr(self.recipe, name, None)
            found |= {name: one and one.value, f"{name}_low": one and one.low, f"{name}_high": one and one.high}
        said = {name: self.recipe and getattr(self.recipe, name) for name in ("p", "p_rank", "verdict")}
        return found | said | {"why_empty": "; ".join(dict.fromkeys(cells.undefined(self.rows)))}


def render(folder: Path) -> list[Path]:
    """Write limits.md, a table for each of FIGURES, and limits.csv, a line per cell, into a sweep's folder.

    Raises InputError if no job measured anything.
    """
    rows = read_rows(folder)
    measured = cells.require_measured(rows, folder)
    found = list(_cells(measured, folder))
    juries = sorted({cell.jury for cell in found})
    header = ("attack", "layer", "queries", *(f"{n} shadow{'s' if n > 1 else ''}" for n in juries))
    notes = cells.Notes()
    text = [
        formats.markdown(header, list(_lines(found, juries, figure, notes)), title) for figure, title in FIGURES.items()
    ]
    text += [_caption(found, measured), *(f"({number}) {said}" for said, number in notes.sentences.items())]
    missing = [f"- {' '.join(row.get('overrides', ()))}: {row['error']}" for row in cells.failed(rows)]
    text += ["Failed, and missing above:", "\n".join(missing)] if missing else []
    (folder / "limits.md").write_text("\n\n".join([*text, origin(folder, measured)]) + "\n")
    write_csv([cell.record() for cell in found], folder / "limits.csv")
    return [folder / "limits.md", folder / "limits.csv"]


def _cells(rows: Sequence[Row], folder: Path) -> Iterator[Cell]:
    """The rows of every cell, in the order of the jobs, with what their encoders say together."""
    groups: dict[tuple[Line, int], list[Row]] = {}
    for row in rows:
        told = cells.told(overrides(folder / str(row["job"])))
        contender = told.get(cells.CONTENDER, str(row["attack"]))
        jury = int(told.get("jury") or row["shadows"])
        groups.setdefault(((contender, row["layer"], row["queries"]), jury), []).append(row)
    for (line, jury), some in groups.items():
        yield Cell(line, jury, some, cells.recipe_of(some, folder))


def _lines(found: Sequence[Cell], juries: Sequence[int], figure: str, notes: cells.Notes) -> Iterator[list[str]]:
    lines: dict[Line, dict[int, Cell]] = {}
    for cell in found:
        lines.setdefault(cell.line, {})[cell.jury] = cell
    for line, there in lines.items():
        yield [*map(str, line), *(there[n].text(figure, notes) if n in there else "-" for n in juries)]


def _caption(found: Sequence[Cell], rows: Sequence[Row]) -> str:
    targets = " or ".join(sorted({str(cell.recipe.targets) for cell in found if cell.recipe}, key=int))
    seeds = ", ".join(map(str, sorted({row["seed"] for row in rows})))
    first = rows[0]
    counts = f"{first['members']} members against {first['nonmembers']} non-members"
    return (
        f"{first['dataset']}, {first['arch']}, {counts}. Every encoder of the seeds {seeds} is the target in turn "
        f"({targets} targets), with one threshold for all; brackets hold 95 % intervals, clustered by image and by "
        "target. Shadows are pairs of complements, drawn for each target from the other encoders without the target's "
        "own complement; as many as there are where fewer are left. "
        f"{cells.INVALID} a null test of an audited encoder failed: table.csv says which."
    )


if __name__ == "__main__":
    sys.exit(reproduce("limits", render))

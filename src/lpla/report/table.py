"""Result rows as a table: choices that all rows share stand in the title, the others are columns; also as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]

CHOICES = (
    "arch", "backbone", "dataset", "split", "attack", "likelihood", "defense", "layer", "p",
    "queries", "shadows", "members", "epochs", "seed",
)  # fmt: skip
FIGURES = {
    "balanced_accuracy": "bal.", "knn_accuracy": "kNN", "linear_accuracy": "lin.",
    "null_untrained_auc": "untr.", "null_permuted_auc": "perm.", "blind_auc": "blind",
}  # fmt: skip


def read_rows(folder: Path) -> list[Row]:
    """The rows of every `result.json` below a job's or a sweep's folder, in the order of the jobs."""
    files = sorted(folder.rglob("result.json"), key=lambda file: _job_number(file.parent))
    return [{"job": file.parent.name} | row for file in files for row in json.loads(file.read_text())]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All columns of all rows; an empty cell is a value that was not measurable (see its `notes`)."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows({k: "; ".join(v) if isinstance(v, list) else v for k, v in row.items()} for row in rows)


def render(rows: Sequence[Row]) -> Table:
    """The rows of the jobs that were measured, as a terminal table."""
    shared = {c: rows[0][c] for c in CHOICES if len({str(row[c]) for row in rows}) == 1 and c != "layer"}
    columns = [c for c in CHOICES if c not in shared]
    rates = [
        name for name in ("tpr_at_5pct", "tpr_at_1pct", "tpr_at_0_1pct") if any(row[name] is not None for row in rows)
    ]
    title = " ".join(f"{name}={value}" for name, value in shared.items())
    table = Table(title=title, title_justify="left", caption=_caption(rows), caption_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for heading in ("AUC [95 %]", *(_heading(name) for name in rates), *FIGURES.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        auc = Text(_interval(row, "auc"), style="bold red" if row["auc_low"] > 0.5 else "")
        figures = (_number(row[name]) for name in FIGURES)
        table.add_row(*(str(row[c]) for c in columns), auc, *(_interval(row, name) for name in rates), *figures)
    return table


def show(rows: Sequence[Row]) -> None:
    """Print the table, and under it which jobs failed and what the readers of the others must know."""
    console = get_console()
    measured = [row for row in rows if not row.get("error")]
    if measured:
        table = render(measured)
        # A terminal narrower than the table wraps its lines; no figure is ever cut.
        width = max(console.width, Measurement.get(console, console.options.update(max_width=1000), table).maximum)
        Console(width=width).print(table)
    for row in rows:
        if row.get("error"):
            line = f"job {row.get('job', '')} failed ({' '.join(row.get('overrides', ()))}): {row['error']}"
            console.print(line, style="red", highlight=False, soft_wrap=True)
    for note in dict.fromkeys(note for row in measured for note in row["notes"]):
        console.print(f"note: {note}", style="dim", highlight=False, soft_wrap=True)


def _heading(rate: str) -> str:
    return rate.replace("tpr_at_", "TPR@").replace("_", ".").replace("pct", "%")


def _interval(row: Row, name: str) -> str:
    if row[name] is None:
        return "-"
    return f"{_number(row[name])} [{_number(row[name + '_low'])} {_number(row[name + '_high'])}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".removeprefix("0")


def _caption(rows: Sequence[Row]) -> str:
    counts = " or ".join(sorted({f"{row['members']} members against {row['nonmembers']} non-members" for row in rows}))
    queries = " or ".join(str(count) for count in sorted({row["target_queries"] for row in rows}))
    return (
        f"{counts}; {queries} queries to the target. Intervals 95 %: AUC DeLong, TPR Clopper-Pearson. bal.: balanced "
        "accuracy at the shadows' threshold. untr., perm., blind: AUC of an untrained encoder, of permuted membership "
        "and of pixel norms; 0.5 expected of all three."
    )


def _job_number(folder: Path) -> tuple[int, str]:
    return (int(folder.name), "") if folder.name.isdigit() else (0, str(folder))

"""Result rows as a table: choices that all rows share stand in the title, the others are columns; also as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import get_console
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]

CHOICES = (
    "arch", "backbone", "dataset", "split", "attack", "likelihood", "defense", "layer", "p",
    "queries", "shadows", "members", "epochs", "seed",
)  # fmt: skip
ALWAYS = ("arch", "layer", "p")
PLAIN = (
    "balanced_accuracy", "knn_accuracy", "linear_accuracy", "null_untrained_auc", "null_permuted_auc", "blind_auc",
)  # fmt: skip


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
    """The rows as a terminal table; a failed job's row says why."""
    measured = [row for row in rows if not row.get("error")]
    shared = {c: measured[0][c] for c in CHOICES if measured and len({str(row[c]) for row in measured}) == 1}
    columns = [c for c in CHOICES if c not in shared or c in ALWAYS]
    title = " ".join(f"{name}={value}" for name, value in shared.items() if name not in ALWAYS)
    table = Table(title=title, title_justify="left", caption=_caption(measured), caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for column in ("AUC [95 %]", "TPR@5%", "TPR@1%", "bal. acc.", "kNN", "linear", "untrained", "permuted", "blind"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        if row.get("error"):
            table.add_row(*[_choice(row, c) for c in columns], Text(f"failed: {row['error']}", style="red"))
        else:
            table.add_row(*[_choice(row, c) for c in columns], *_figures(row))
    return table


def show(rows: Sequence[Row]) -> None:
    """Print the table, and under it what its readers must know."""
    # Without a terminal there is no width to fit: never fold a figure.
    console = get_console() if get_console().is_terminal else Console(width=170)
    console.print(render(rows))
    for note in dict.fromkeys(note for row in rows for note in row.get("notes", ())):
        console.print(f"note: {note}", style="dim", highlight=False, soft_wrap=True)


def _figures(row: Row) -> list[str | Text]:
    low, high = row["auc_low"], row["auc_high"]
    auc = Text(f"{row['auc']:.3f} [{low:.3f}, {high:.3f}]", style="bold red" if low > 0.5 else "")
    return [auc, _interval(row, "tpr_at_5pct"), _interval(row, "tpr_at_1pct"), *(_number(row[n]) for n in PLAIN)]


def _interval(row: Row, name: str) -> str:
    if row[name] is None:
        return "-"
    return f"{row[name]:.3f} [{row[name + '_low']:.3f}, {row[name + '_high']:.3f}]"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _choice(row: Row, name: str) -> str:
    return str(row.get(name, "-"))


def _caption(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    first = rows[0]
    return (
        f"{first['members']} members against {first['nonmembers']} non-members; intervals 95 % (AUC DeLong, TPR "
        "Clopper-Pearson); untrained, permuted and blind are null tests: 0.5 expected"
    )


def _job_number(folder: Path) -> tuple[int, str]:
    return (int(folder.name), "") if folder.name.isdigit() else (0, str(folder))

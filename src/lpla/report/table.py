"""Result rows as a table: choices that all rows share stand in the title, the others are columns; also as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]

CHOICES = (
    "arch", "backbone", "dataset", "split", "attack", "likelihood", "knowledge", "defense", "layer", "p", "norms",
    "queries", "shadows", "members", "epochs", "seed", "settings",
)  # fmt: skip
"""What a row may differ in from another; `settings`: see `read_rows`."""
RATES = ("tpr_at_5pct", "tpr_at_1pct", "tpr_at_0_1pct")
FIGURES = {
    "balanced_accuracy": "bal.", "precision": "prec.", "knn_accuracy": "kNN", "linear_accuracy": "lin.",
    "embedding_spread": "spread",
    "null_untrained_auc": "untr.", "null_permuted_auc": "perm.", "null_nonmembers_auc": "halves",
    "blind_auc": "blind", "null_parity_auc": "views",
}  # fmt: skip
STYLES = {"leaks": "bold red", "invalid": "yellow"}


def read_rows(folder: Path) -> list[Row]:
    """The rows of every `result.json` below a job's or a sweep's folder, in the order of the jobs.

    `settings` are a job's overrides that are no column of their own, less those that all jobs share.
    """
    rows = []
    for file in sorted(folder.rglob("result.json"), key=lambda file: _job_number(file.parent)):
        job = {"job": file.parent.name, "settings": _settings(file.parent)}
        rows += [job | row for row in _load(file)]
    shared = set[str]().union(*(row["settings"] for row in rows)).intersection(*(row["settings"] for row in rows))
    return [row | {"settings": [one for one in row["settings"] if one not in shared]} for row in rows]


def _load(file: Path) -> list[dict[str, Any]]:
    """A job's rows; one that says so where the file is damaged."""
    try:
        return json.loads(file.read_text())
    except ValueError as damage:
        return [{"error": f"{file} cannot be read: {damage}"}]


def _settings(job: Path) -> list[str]:
    file = job / ".hydra" / "overrides.yaml"
    if not file.exists():
        return []
    overrides = map(str, OmegaConf.load(file))
    return sorted(one for one in overrides if one.partition("=")[0].lstrip("+~") not in CHOICES)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """All columns of all rows; an empty cell is a value that was not measurable (see its `notes`)."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows({k: "; ".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in row.items()}
                         for row in rows)  # fmt: skip


def differing(rows: Sequence[Row], choices: Sequence[str] = CHOICES) -> list[str]:
    """The choices in which the rows differ."""
    return [c for c in choices if len({cell(row.get(c)) for row in rows}) > 1]


def cell(value: object) -> str:
    """A choice as it is printed."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "-" if value is None or value == "" else str(value)


def number(value: float | None) -> str:
    """A figure in three decimals, without the leading zero."""
    if value is None:
        return "-"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A figure and its bounds."""
    return "-" if value is None else f"{number(value)} [{number(low)} {number(high)}]"


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
    """The rows of the jobs that were measured, of which there is at least one; an undefined attack's cells are "-"."""
    columns = chosen_columns(rows)
    shown = [c for c in CHOICES if c not in (*columns, "settings") and rows[0].get(c) not in (None, "")]
    rates = [name for name in RATES if any(row.get(name) is not None for row in rows)]
    figures = [name for name in FIGURES if any(row.get(name) is not None for row in rows)]
    header = (*columns, "AUC [95 %]", *map(_heading, rates), *(FIGURES[name] for name in figures))
    cells = []
    for row in rows:
        intervals = (interval(*(row.get(name + end) for end in ("", "_low", "_high"))) for name in ("auc", *rates))
        choices = (cell(row.get(c)) for c in columns)
        cells.append((*choices, *intervals, *(number(row.get(name)) for name in figures)))
    title = " ".join(f"{name}={cell(rows[0][name])}" for name in shown)
    return Strings(title, len(columns), header, tuple(cells), _caption(rows))


def render(rows: Sequence[Row]) -> Table:
    """The same as a terminal table."""
    strings = as_strings(rows)
    title, caption = strings.title, strings.caption
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    for place, heading in enumerate(strings.header):
        table.add_column(heading, justify="left" if place < strings.choices else "right", no_wrap=True)
    for row, cells in zip(rows, strings.rows, strict=True):
        texts = [Text(one) if place < strings.choices else one for place, one in enumerate(cells)]
        texts[strings.choices] = Text(cells[strings.choices], style=_style(row.get("verdict")))
        table.add_row(*texts)
    return table


def show(rows: Sequence[Row]) -> None:
    """Print the table, and under it the verdicts, which jobs failed and what readers of the others must know."""
    console = get_console()
    measured = [row for row in rows if not row.get("error")]
    if measured:
        print_whole(render(measured))
    for verdict, labels in verdicts(measured).items():
        line = Text(f"{labels}: {verdict}", style=_style(verdict))
        console.print(line, highlight=False, soft_wrap=True)
    for row in rows:
        if row.get("error"):
            line = f"job {row.get('job', '')} failed ({' '.join(row.get('overrides', ()))}): {row['error']}"
            console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    for note in dict.fromkeys(note for row in measured for note in row["notes"]):
        console.print(f"note: {note}", style="dim", highlight=False, markup=False, soft_wrap=True)


def print_whole(table: Table) -> None:
    """Print a table; a terminal narrower than it wraps its lines, no figure is ever cut."""
    console = get_console()
    width = max(console.width, Measurement.get(console, console.options.update(max_width=1000), table).maximum)
    Console(width=width).print(table)


def chosen_columns(rows: Sequence[Row]) -> list[str]:
    """The choices that tell one row from another; always the layer."""
    different = differing(rows)
    return [c for c in CHOICES if c in different or c == "layer"]


def label(row: Row, columns: Sequence[str]) -> str:
    """A row by what it was chosen to be."""
    return " ".join(cell(row.get(c)) if c in ("layer", "settings") else f"{c}={cell(row.get(c))}" for c in columns)


SELF_EXPLAINING = ("arch", "backbone", "dataset", "attack", "layer", "settings")


def short_label(row: Row, columns: Sequence[str]) -> str:
    """The same for a legend: no empty choices, no names of choices that explain themselves, nothing that follows."""
    chosen = {c: cell(row.get(c)) for c in columns if c != "likelihood"}
    words = (value if c in SELF_EXPLAINING else f"{c}={value}" for c, value in chosen.items() if value != "-")
    return " ".join(words)


def verdicts(rows: Sequence[Row]) -> dict[str, str]:
    """Every verdict once, with the rows that it is passed on."""
    found: dict[str, list[str]] = {}
    columns = chosen_columns(rows) if rows else []
    for row in rows:
        if row.get("verdict"):
            found.setdefault(row["verdict"], []).append(label(row, columns))
    everything = len(rows) > 1 and len(found) == 1 and len(*found.values()) == len(rows)
    return {verdict: "all rows" if everything else "; ".join(labels) for verdict, labels in found.items()}


def _style(verdict: str | None) -> str:
    return STYLES.get((verdict or "").partition(":")[0], "")


def _heading(rate: str) -> str:
    return rate.replace("tpr_at_", "TPR@").replace("_", ".").replace("pct", "%")


def _caption(rows: Sequence[Row]) -> str:
    counts = " or ".join(sorted({f"{row['members']} members against {row['nonmembers']} non-members" for row in rows}))
    queries = " or ".join(str(count) for count in sorted({row["target_queries"] for row in rows}))
    return (
        f"{counts}; {queries} queries to the target. Intervals 95 %: AUC DeLong (logit), TPR bootstrap. bal., prec.: "
        "balanced accuracy and precision at the shadows' threshold; spread: of the embeddings, 0 = collapsed. AUCs of "
        "which 0.5 is expected: untr.: an untrained encoder, perm.: permuted membership, halves: two halves of the "
        "non-members; blind, views: the farthest from 0.5 of several summaries of the pixels and of the views."
    )


def _job_number(folder: Path) -> tuple[int, str]:
    return (int(folder.name), "") if folder.name.isdigit() else (0, str(folder))

"""Result rows as a table: choices that all rows share stand in the title, the others are columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import SupportsIndex, overload

from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lpla.contracts.column import Column
from lpla.contracts.result import AuditResult, InputError, columns
from lpla.report import formats
from lpla.report.rows import SETTINGS, Row, cell, choices, chosen_columns, interval, label, number

STYLES = {"leaks": "bold red", "recipe leaks": "bold red", "invalid": "yellow", "recipe invalid": "yellow"}


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
    chosen, known = chosen_columns(rows), columns("choice")
    shared = [c for c in choices() if c not in (*chosen, SETTINGS) and rows[0].get(c) not in (None, "")]
    figures = _shown_figures(rows)
    headings = (known[c].heading if c in known else c for c in chosen)
    header = (*headings, *(f"{f.heading} [95 %]" if name == "auc" else f.heading for name, f in figures.items()))
    cells = [
        (*(cell(row.get(c)) for c in chosen), *(_figure(row, name, f) for name, f in figures.items())) for row in rows
    ]
    title = " ".join(f"{name}={cell(rows[0][name])}" for name in shared)
    return Strings(title, len(chosen), header, tuple(cells), _caption(rows, figures))


def _shown_figures(rows: Sequence[Row]) -> dict[str, Column]:
    """The AUC, and every other figure, utility and null that one of the rows has."""
    found = columns("figure", "utility", "null", headed=True)
    return {name: f for name, f in found.items() if name == "auc" or any(row.get(name) is not None for row in rows)}


def _figure(row: Row, name: str, figure: Column) -> str:
    if figure.interval:
        return interval(*(row.get(name + end) for end in ("", "_low", "_high")))
    return number(row.get(name))


def render(rows: Sequence[Row]) -> Table:
    """The same as a terminal table."""
    strings = as_strings(rows)
    title, caption = strings.title, strings.caption
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    for place, heading in enumerate(strings.header):
        table.add_column(Text(heading), justify="left" if place < strings.choices else "right", no_wrap=True)
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
    for said in (row["strongest"] for row in measured if row.get("strongest")):
        console.print(Text(said, style="bold"), highlight=False, soft_wrap=True)
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


def verdicts(rows: Sequence[Row]) -> dict[str, str]:
    """Every verdict once, with the rows that it is passed on; those of the recipe after those of the targets."""
    return _verdicts(rows, "verdict") | _verdicts(rows, "recipe_verdict")


def _verdicts(rows: Sequence[Row], column: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    names = chosen_columns(rows) if rows else []
    for row in rows:
        if row.get(column):
            found.setdefault(row[column], []).append(label(row, names))
    everything = len(rows) > 1 and len(found) == 1 and len(*found.values()) == len(rows)
    return {verdict: "all rows" if everything else "; ".join(labels) for verdict, labels in found.items()}


class Results(Sequence[AuditResult]):
    """The rows of one audit, which print themselves: as plain text, and as HTML in a notebook."""

    def __init__(self, rows: Sequence[AuditResult], page: str = "") -> None:
        """`page` is the job's, as HTML."""
        self._rows, self._page = tuple(rows), page

    def report(self, path: str | Path) -> Path:
        """Write the page of the job to a file; raises InputError where the audit wrote none."""
        if not self._page:
            raise InputError("report needs the page of a job: lpla.audit(..., folder=FOLDER) makes one, got none")
        Path(path).write_text(self._page, encoding="utf-8")
        return Path(path)

    @overload
    def __getitem__(self, place: SupportsIndex) -> AuditResult: ...
    @overload
    def __getitem__(self, place: slice) -> Results: ...
    def __getitem__(self, place: SupportsIndex | slice) -> AuditResult | Results:
        return Results(self._rows[place]) if isinstance(place, slice) else self._rows[place]

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Results) and self._rows == other._rows

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """What the command line prints, without colours."""
        if not self._rows:
            return "no rows"
        strings = self._strings()
        lines = formats.aligned(strings.header, strings.rows, strings.choices)
        said = self._said()
        return "\n".join([strings.title, lines, *said, *(f"note: {note}" for note in self._notes())])

    def _repr_html_(self) -> str:
        if not self._rows:
            return "<p>no rows</p>"
        strings = self._strings()
        said = self._said()
        sentences = "".join(f"<p>{formats.html_text(one)}</p>" for one in [*said, *self._notes(), strings.caption])
        return formats.html(strings.header, strings.rows, strings.title) + sentences

    def _said(self) -> list[str]:
        """The verdicts, and what the strongest of several attacks says."""
        found = [f"{labels}: {verdict}" for verdict, labels in verdicts(self._plain()).items()]
        return found + [row.strongest for row in self._rows if row.strongest]

    def _plain(self) -> list[Row]:
        return [asdict(row) for row in self._rows]

    def _strings(self) -> Strings:
        return as_strings(self._plain())

    def _notes(self) -> list[str]:
        return list(dict.fromkeys(note for row in self._rows for note in row.notes))


def _style(verdict: str | None) -> str:
    return STYLES.get((verdict or "").partition(":")[0], "")


def _caption(rows: Sequence[Row], figures: dict[str, Column]) -> str:
    counts = " or ".join(sorted({f"{row['members']} members against {row['nonmembers']} non-members" for row in rows}))
    queries = " or ".join(str(count) for count in sorted({row["target_queries"] for row in rows}))
    words = "; ".join(f"{one.heading}: {one.sentence.rstrip('.')}" for one in figures.values())
    return f"{counts}; {queries} queries to the target. Brackets hold 95 % intervals. {words}."

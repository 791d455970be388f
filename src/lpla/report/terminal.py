"""What a terminal shows of result rows: six columns, the verdict on the encoder, what readers must know."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lpla.report.conclusion import INVALID, adds_to_verdicts, conclude
from lpla.report.notes import grouped
from lpla.report.rows import Row, short_label, telling, word
from lpla.report.table import Strings, six, verdicts

STYLES = {"leaks": "bold red", "recipe leaks": "bold red", "invalid": "yellow", "recipe invalid": "yellow"}
WIDEST = 100
"""Columns of a table, whatever the terminal has."""
WORD, FOLDED = 24, 14
"""Letters of a word that a column of words keeps in one line, and where intervals stand below their figures."""
FEW = 4
"""Rows, at most, of which every verdict is printed whole; of more, that of the strongest and those to distrust."""
REST = "All columns, verdicts and figures: report.html and result.json"


def show(rows: Sequence[Row]) -> None:
    """Print the table, and under it the verdicts, which jobs failed and what readers of the others must know."""
    console = get_console()
    measured = [row for row in rows if not row.get("error")]
    if measured:
        print_whole(render(measured, width()))
    for said in sentences(rows):
        console.print(Text(said, style=_style(said)), highlight=False, soft_wrap=True)
    for row in rows:
        if row.get("error"):
            line = f"job {row.get('job', '')} failed ({' '.join(row.get('overrides', ()))}): {row['error']}"
            console.print(line, style="red", highlight=False, markup=False, soft_wrap=True)
    for note in grouped(measured):
        console.print(f"note: {note}", style="dim", highlight=False, markup=False, soft_wrap=True)


def sentences(rows: Sequence[Row]) -> list[str]:
    """What is said below the table: what all rows say together, the verdicts, what the strongest attack says.

    Rows of failed jobs, which have an `error`, are counted and not named.
    """
    found = [conclude(rows).sentence] if adds_to_verdicts(rows) else []
    rows = [row for row in rows if not row.get("error")]
    strongest = [row["strongest"] for row in rows if row.get("strongest")]
    found += strongest
    shown = rows if len(rows) <= FEW else [row for row in rows if _is_told(row, rows)]
    names = telling(rows) if rows else []
    if len(shown) == len(rows):
        return found + [f"{labels}: {verdict}" for verdict, labels in verdicts(rows).items()]
    for row in shown:
        told = [row.get("verdict")] + ([row.get("recipe_verdict")] if _leads(row, rows) else [])
        found += [f"{short_label(row, names)}: {said}" for said in told if said]
    return [*dict.fromkeys(found), REST]


def _is_told(row: Row, rows: Sequence[Row]) -> bool:
    return _leads(row, rows) or word(row) == INVALID


def _leads(row: Row, rows: Sequence[Row]) -> bool:
    """Whether it is the row of the strongest attack, where a job says so, else that of the highest AUC."""
    named = [one for one in rows if one.get("strongest")]
    if named:
        return any(one is row for one in named)
    defined = [one for one in rows if one.get("auc") is not None]
    return bool(defined) and max(defined, key=lambda one: one["auc"]) is row


def width() -> int:
    """How wide a table may be: as the terminal or COLUMNS says, at most WIDEST, which a file has too."""
    console = get_console()
    told = console.is_terminal or "COLUMNS" in os.environ
    return min(console.width, WIDEST) if told else WIDEST


def render(rows: Sequence[Row], wide: int = WIDEST) -> Table:
    """The six columns of the measured rows, of which there is at least one, each with the colour of its verdict."""
    return as_table(six(rows), wide, [_style(str(row.get("verdict"))) for row in rows])


def as_table(strings: Strings, wide: int = WIDEST, styles: Sequence[str] = ()) -> Table:
    """Make a table for a terminal: one line a row, or intervals below their figures where that would be too wide.

    Args:
        strings: The headings and the cells.
        wide: How many columns of a terminal there are.
        styles: Of every row, in which its first figure and its verdict stand; none: that of a table of figures alone.

    Returns:
        The table, not yet printed.
    """
    whole = _widths(strings, bool(styles), wide, stacked=False)
    stacked = _around(whole) > wide
    widths = _widths(strings, bool(styles), wide, stacked=True) if stacked else whole
    title, caption = strings.title, strings.caption
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left", box=SIMPLE_HEAD,
                  padding=(0, 1, 0, 0), pad_edge=False)  # fmt: skip
    words = _of_words(strings, bool(styles))
    for place, (heading, size) in enumerate(zip(strings.header, widths, strict=True)):
        text = place in words
        # A name of an attack breaks between its words, a figure never.
        table.add_column(Text(_broken(heading, stacked)), justify="left" if text else "right", no_wrap=not text,
                         width=size, overflow="fold")  # fmt: skip
    for number, cells in enumerate(strings.rows):
        texts = [Text(one if place < strings.choices else _broken(one, stacked)) for place, one in enumerate(cells)]
        if styles:
            texts[strings.choices].stylize(styles[number])
            texts[-1].stylize(styles[number])
        table.add_row(*texts)
    return table


def _of_words(strings: Strings, judged: bool) -> list[int]:
    """The places of the columns of words, those that give way first at the end: the last, if it holds verdicts."""
    return [*range(strings.choices), *([len(strings.header) - 1] if judged else [])]


def _widths(strings: Strings, judged: bool, wide: int, stacked: bool) -> list[int]:
    """The width of every column: of its longest line, and of words less where all would be too wide."""
    columns = list(
        zip(*[[_broken(one, stacked) for one in row] for row in (strings.header, *strings.rows)], strict=True)
    )
    found = [max(len(line) for one in column for line in one.split("\n")) for column in columns]
    for place in reversed(_of_words(strings, judged)):
        longest = max(len(word) for one in columns[place] for word in one.split())
        least = min(longest, FOLDED if stacked else WORD)
        found[place] = max(min(least, found[place]), found[place] - max(0, _around(found) - wide))
    return found


def _around(widths: Sequence[int]) -> int:
    """How wide a table is: two between its columns and one on either side."""
    return sum(widths) + 2 * len(widths) + 1


def _broken(figure: str, stacked: bool) -> str:
    """A figure with its interval, or a heading with what stands in brackets, in two lines."""
    return figure.replace(" [", "\n[", 1).replace(" at ", " at\n") if stacked else figure


def print_whole(table: Table) -> None:
    """Print a table; a terminal narrower than it wraps its lines, no figure is ever cut."""
    console = get_console()
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    Console(width=max(width(), needed)).print(table)


def _style(said: str | None) -> str:
    first = (said or "").partition(":")[0]
    if first.endswith((" leaks", " leak")) and "undecided" not in first:
        return STYLES["leaks"]
    return STYLES.get(first, STYLES.get(first.rpartition(": ")[2], ""))

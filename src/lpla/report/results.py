"""The rows of one audit as Python has them: a sequence that prints itself, and shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import SupportsIndex, overload

from lpla.contracts.result import AuditResult, InputError
from lpla.report import formats
from lpla.report.notes import grouped
from lpla.report.rows import Row
from lpla.report.table import as_strings, six
from lpla.report.terminal import sentences


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
        strings, rows = six(self._plain()), self._plain()
        lines = formats.aligned(strings.header, strings.rows, strings.choices, trailing=1)
        notes = (f"note: {note}" for note in grouped(rows))
        return "\n".join([strings.title, lines, strings.caption, *sentences(rows), *notes])

    def _repr_html_(self) -> str:
        """All columns, which a notebook scrolls."""
        if not self._rows:
            return "<p>no rows</p>"
        strings, rows = as_strings(self._plain()), self._plain()
        said = (formats.html_text(one) for one in [*sentences(rows), *grouped(rows), strings.caption])
        return formats.html(strings.header, strings.rows, strings.title) + "".join(f"<p>{one}</p>" for one in said)

    def _plain(self) -> list[Row]:
        return [asdict(row) for row in self._rows]

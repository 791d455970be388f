"""How the leak shrinks with members and grows with epochs: slopes in log-log, and a prediction for other numbers.

`make reproduce-size`, or `python -m experiments.size [KEY=VALUE ...] [--render FOLDER] [--members N --epochs T]`; the
prediction is for that many members and epochs, in figures of the same data set and framework.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from experiments import _cells as cells
from experiments._law_text import At, command, doubled, grid, prediction, records, slopes
from experiments._leaks import AUC, GAP, lines_of
from experiments._origin import origin
from experiments._power_law import PowerLaw
from experiments._size_picture import draw_sizes
from lpla.report.rows import Row, read_rows, write_csv

FIGURES = {"auc": AUC, "gap": GAP}
"""What is fitted; the gap is that of the scores."""


def render(folder: Path, at: At | None = None) -> list[Path]:
    """Write size.md, size.csv and their picture, size.svg and size.png, into a sweep's folder.

    Args:
        folder: of the sweep.
        at: for how many members and epochs the leak is predicted; None: for none.

    Raises:
        InputError: if no job measured anything, or if `at` is too far from what was measured.
    """
    rows = read_rows(folder)
    measured = cells.require_measured(rows, folder)
    lines, text = lines_of(measured, folder, FIGURES), ["![The leak against members and epochs](size.svg)"]
    found: list[Row] = []
    drawn = {line.name: (line.cells["auc"], line.laws()["auc"]) for line in lines if line.cells["auc"]}
    for line in lines:
        laws = line.laws()
        text += [doubled(line, laws), slopes(line, laws, FIGURES), grid(line, laws)]
        text += [prediction(law, FIGURES[name], at) for name, law in laws.items() if at and isinstance(law, PowerLaw)]
        found += records(line, laws)
    text += cells.missing(rows)
    (folder / "size.md").write_text("\n\n".join([*text, _caption(measured), origin(folder, measured)]) + "\n")
    write_csv(found, folder / "size.csv")
    pictures = draw_sizes(drawn, folder / "size") if drawn else []
    return [folder / "size.md", folder / "size.csv", *pictures]


def _caption(rows: Sequence[Row]) -> str:
    first = rows[0]
    return (
        f"{first['dataset']}, {first['arch']}, {first['backbone']}. A slope of -1 against members halves the figure "
        "where they are doubled. AUC - 0.5 and the gap (difference of the mean scores of members and others, in "
        "deviations within the groups) are means over all encoders of an audit as targets in turn. Exponents are "
        "fitted for each seed, whose encoders share a pool, by Poisson's likelihood; brackets hold Student's 95 % "
        "intervals over the seeds. An AUC cannot pass 1, so that its slopes flatten where it comes near. "
        f"{cells.INVALID} a null test of an audited encoder failed: table.csv says which."
    )


main = partial(command, "size", render)


if __name__ == "__main__":
    sys.exit(main())

"""How the leak shrinks with members and grows with epochs: slopes in log-log, and a prediction for other numbers.

`make reproduce-size`, or `python -m experiments.size [KEY=VALUE ...] [--render FOLDER] [--members N --epochs T]`; the
prediction is for that many members and epochs, in figures of the same data set and framework.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from experiments import _cells as cells
from experiments._grid import jobs
from experiments._origin import origin
from experiments._power_law import Cell, PowerLaw, check_range, power_law
from experiments._reproduce import choose_grid, reproduce
from experiments._size_picture import draw_sizes
from lpla.contracts.result import InputError
from lpla.metrics.roc import Estimate, auc
from lpla.metrics.rotation import Rotation
from lpla.metrics.targets import FEWEST
from lpla.report import formats
from lpla.report.rows import Row, number, read_rows, write_csv

FIGURES = {"auc": "AUC - 0.5", "gap": "gap"}
"""What is fitted; the gap is that of the scores."""
At = tuple[int, int]
"""Members and epochs."""


@dataclass(frozen=True)
class Line:
    """One attack at one layer: its cells by figure, and how many targets they stand on."""

    name: str
    cells: Mapping[str, Sequence[Cell]]
    targets: int
    invalid: bool

    def laws(self) -> dict[str, PowerLaw | str]:
        """The fit of every figure, or the sentence that says why there is none."""
        found: dict[str, PowerLaw | str] = {}
        for figure, some in self.cells.items():
            try:
                found[figure] = power_law(some)
            except InputError as absent:
                found[figure] = str(absent)
        return found


def gap(score: np.ndarray, member: np.ndarray) -> float:
    """Mean score of the members less that of the others, in standard deviations within the two groups."""
    inside, outside = score[member], score[~member]
    squares = inside.var() * len(inside) + outside.var() * len(outside)
    within = np.sqrt(squares / (len(score) - 2))
    return float((inside.mean() - outside.mean()) / within) if within else 0.0


def leak(rotation: Rotation) -> dict[str, float]:
    """Each of FIGURES, the mean over the targets in turn."""
    targets = list(zip(rotation.score, rotation.member, strict=True))
    areas = [auc(score, member).value - 0.5 for score, member in targets]
    return {"auc": float(np.mean(areas)), "gap": float(np.mean([gap(*one) for one in targets]))}


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
    lines, text, records = _lines(measured, folder), ["![The leak against members and epochs](size.svg)"], []
    drawn = {line.name: (line.cells["auc"], line.laws()["auc"]) for line in lines if line.cells["auc"]}
    for line in lines:
        laws = line.laws()
        text += [*_doubled(line, laws), _slopes(line, laws), _grid(line, laws)]
        text += [_prediction(law, figure, at) for figure, law in laws.items() if at and isinstance(law, PowerLaw)]
        records += _records(line, laws)
    missing = [f"- {' '.join(row.get('overrides', ()))}: {row['error']}" for row in cells.failed(rows)]
    text += ["Failed, and missing above:", "\n".join(missing)] if missing else []
    (folder / "size.md").write_text("\n\n".join([*text, _caption(measured), origin(folder, measured)]) + "\n")
    write_csv(records, folder / "size.csv")
    pictures = draw_sizes(drawn, folder / "size") if drawn else []
    return [folder / "size.md", folder / "size.csv", *pictures]


def _lines(rows: Sequence[Row], folder: Path) -> list[Line]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['attack']}, {row['layer']}", []).append(row)
    lines = []
    for name, some in groups.items():
        found = {figure: list[Cell]() for figure in FIGURES}
        targets = 0
        for row in some:
            if (rotation := cells.rotation_of(row, folder)) is not None:
                targets += len(rotation.score)
                for figure, value in leak(rotation).items():
                    found[figure].append(Cell(row["seed"], row["members"], row["epochs"], value))
        invalid = any(str(row.get("verdict")).startswith("invalid") for row in some)
        lines.append(Line(name, found, targets, invalid))
    return lines


def _doubled(line: Line, laws: Mapping[str, PowerLaw | str]) -> list[str]:
    """The sentence on what twice the members, and twice the epochs, make of AUC - 0.5; none where there is no fit."""
    if isinstance(law := laws["auc"], str):
        return [f"{line.name}: {law}."]
    times = (_interval(Estimate(*(2.0**end for end in (one.value, one.low, one.high))), law) for one in law.slopes)
    members, epochs = times
    return [f"{line.name}: twice the members make AUC - 0.5 {members} times as large, twice the epochs {epochs} times."]


def _slopes(line: Line, laws: Mapping[str, PowerLaw | str]) -> str:
    header = ("figure", "slope against members [95 %]", "slope against epochs [95 %]")
    body = []
    for figure, law in laws.items():
        told = [law, "-"] if isinstance(law, str) else [_interval(one, law) for one in law.slopes]
        body.append((FIGURES[figure], *told))
    seeds = len({one.seed for one in line.cells["auc"]})
    title = f"{line.name}: slopes in log-log over {seeds} seeds, {line.targets} targets in turn"
    return formats.markdown(header, body, title + (f" {cells.INVALID}" if line.invalid else ""))


def _grid(line: Line, laws: Mapping[str, PowerLaw | str]) -> str:
    """The AUC of every cell, a mean over the seeds, and in brackets what the power law has there."""
    members, epochs = (sorted({getattr(one, name) for one in line.cells["auc"]}) for name in ("members", "epochs"))
    body = []
    for count in members:
        texts = []
        for passes in epochs:
            here = [one.value for one in line.cells["auc"] if (one.members, one.epochs) == (count, passes)]
            law = laws["auc"]
            fitted = "" if isinstance(law, str) else f" ({number(0.5 + law.at(count, passes))})"
            texts.append(f"{number(0.5 + float(np.mean(here)))}{fitted}" if here else "-")
        body.append((str(count), *texts))
    header = ("members", *(f"{one} epochs" for one in epochs))
    return formats.markdown(header, body, f"{line.name}: AUC as measured (and as fitted)")


def _prediction(law: PowerLaw, figure: str, at: At) -> str:
    """The sentence for so many members and epochs; an AUC ends at 1."""
    found, (members, epochs) = law.predict(*at), at
    if figure == "auc":
        found = Estimate(*(min(0.5 + one, 1.0) for one in (found.value, found.low, found.high)))
    name = "AUC" if figure == "auc" else f"{FIGURES[figure]} of the scores"
    told = _interval(found, law)
    return f"Predicted at {members:,} members and {epochs:,} epochs: {name} {told} for the mean of one further seed."


def _interval(one: Estimate, law: PowerLaw) -> str:
    if len(law.fits) < FEWEST:
        return f"{one.value:.2f} (no interval from fewer than {FEWEST} seeds)"
    return f"{one.value:.2f} [{one.low:.2f} {one.high:.2f}]"


def _records(line: Line, laws: Mapping[str, PowerLaw | str]) -> list[Row]:
    """A flat row for each figure of each cell."""
    found: list[Row] = []
    for figure, some in line.cells.items():
        law = laws[figure]
        for one in some:
            fitted = None if isinstance(law, str) else law.at(one.members, one.epochs)
            found.append({"line": line.name, "figure": figure, **vars(one), "fitted": fitted})
    return found


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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; a prediction too far from the grid is refused before anything is trained."""
    parser = argparse.ArgumentParser(prog="python -m experiments.size", add_help=False)
    parser.add_argument("--members", type=int)
    parser.add_argument("--epochs", type=int)
    own, rest = parser.parse_known_args(arguments)
    if (own.members is None) != (own.epochs is None):
        print("error: --members and --epochs must be given together, got one of them")
        return 1
    at = None if own.members is None else (own.members, own.epochs)
    if at and "--render" not in rest:
        rest = [f"experiment={choose_grid('size', rest)}", *(one for one in rest if not one.startswith("experiment="))]
        grid = [{name: value for name, _, value in (one.partition("=") for one in job)} for job in jobs(rest)]
        members, epochs = ([int(job[name]) for job in grid] for name in ("members", "epochs"))
        try:
            check_range(members, epochs, *at)
        except InputError as mistake:
            print(f"error: {mistake}")
            return 1
    return reproduce("size", partial(render, at=at), rest)


if __name__ == "__main__":
    sys.exit(main())

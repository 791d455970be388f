"""Leaks of 250 to 2,000 members, and of 5,000 on a GPU, by every attack: figures, slopes in log-log and a prediction.

`make reproduce-scale`, or `python -m experiments.scale [KEY=VALUE ...] [--render FOLDER] [--members N --epochs T]`.
On 2 cores members grow once at equal epochs and once at equal steps; members and epochs that are set are crossed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from experiments import _cells as cells
from experiments._grid import jobs
from experiments._law_text import At, Laws, command, doubled, prediction, records, slopes_of
from experiments._leaks import AUC, RATE, Line, lines_of
from experiments._origin import origin
from experiments._power_law import PowerLaw
from experiments._size_picture import draw_sizes
from lpla.report import formats
from lpla.report.rows import Row, interval, number, read_rows, word, write_csv

FIGURES = {"auc": AUC, "rate": RATE}
PAIRS = {
    "scale_small": [
        ["members=250,500,1000,2000", "epochs=30"],
        ["members=1000", "epochs=60"],
        ["members=500", "epochs=120"],
        ["members=250", "epochs=240"],
    ]
}
"""By experiment what is crossed, sweep by sweep: the first at equal epochs; its last and all others at equal steps."""
LEGS = ("seed", "members", "epochs")
"""Settings in which the sweeps of a run differ."""
DRAWN = (
    "bank collective=true, joint",
    "bank, joint",
    "lpla norms=whitened, projector",
    "lpla, projector",
    "encodermi_t, projector",
)
"""Lines with a picture and sentences, chosen before anything was measured; all lines where none of these is there."""


def legs(overrides: Sequence[str]) -> list[list[str]]:
    """The sweeps of which the experiment is made: seed after seed, so that what was stopped early has whole seeds."""
    named = {one.partition("=")[0]: one.partition("=")[2] for one in overrides}
    pairs = PAIRS.get(named.get("experiment", ""))
    if pairs is None or named.keys() & {"members", "epochs"}:
        return [list(overrides)]
    seeds = dict.fromkeys(dict(one.split("=", 1) for one in job)["seed"] for job in jobs(overrides))
    others = [one for one in overrides if not one.startswith("seed=")]
    return [[*others, f"seed={seed}", *pair] for seed in seeds for pair in pairs]


def render(folder: Path, at: At | None = None) -> list[Path]:
    """Write scale.md, scale.csv and their picture, scale.svg and scale.png, into a sweep's folder.

    Args:
        folder: of the sweep.
        at: for how many members and epochs leaks are predicted; None: for none.

    Raises:
        InputError: if no job measured anything, or if `at` is too far from what was measured.
    """
    rows = read_rows(folder)
    measured = cells.require_measured(rows, folder)
    lines = [line for line in lines_of(measured, folder, FIGURES) if line.cells["auc"]]
    lines.sort(key=_mean, reverse=True)
    laws = {line.name: line.laws() for line in lines}
    shown = [line for line in lines if line.name in DRAWN] or lines
    text = ["![Leaks against members and epochs](scale.svg)"]
    text += [doubled(line, laws[line.name]) for line in shown if isinstance(laws[line.name]["auc"], PowerLaw)]
    text += _predictions(shown, laws, at) if at else []
    text += [_figures(shown, folder), _every(lines), _slopes(lines, laws), *cells.missing(rows)]
    text += [_caption(measured), origin(folder, measured, "-m experiments.scale", LEGS)]
    (folder / "scale.md").write_text("\n\n".join(text) + "\n")
    write_csv([one for line in lines for one in records(line, laws[line.name])], folder / "scale.csv")
    drawn = {line.name: (line.cells["auc"], laws[line.name]["auc"]) for line in shown}
    return [folder / "scale.md", folder / "scale.csv", *draw_sizes(drawn, folder / "scale")]


def _predictions(lines: Sequence[Line], laws: Mapping[str, Laws], at: At) -> list[str]:
    fits = [(line, FIGURES[name], law) for line in lines for name, law in laws[line.name].items()]
    return [f"{line.name}: {prediction(law, one, at)}" for line, one, law in fits if isinstance(law, PowerLaw)]


def _mean(line: Line) -> float:
    found = [one.value for one in line.cells["auc"]]
    return sum(found) / len(found)


def _places(lines: Sequence[Line]) -> list[At]:
    return sorted({(one.members, one.epochs) for line in lines for one in line.cells["auc"]})


def _rows_at(line: Line, place: At) -> list[Row]:
    return [row for row in line.rows if (row["members"], row["epochs"]) == place]


def _figures(lines: Sequence[Line], folder: Path) -> str:
    """The table of chosen lines: AUC and rates of each cell, by one threshold for all targets of all its seeds."""
    body = []
    for members, epochs in _places(lines):
        for line in lines:
            found = cells.recipe_of(_rows_at(line, (members, epochs)), folder)
            if found is None:
                continue
            area, rate = found.auc, found.tpr_at_1pct
            told = "-" if rate is None else interval(rate.value, rate.low, rate.high)
            body.append((f"{members:,}", str(epochs), line.name, interval(area.value, area.low, area.high), told,
                         str(found.targets)))  # fmt: skip
    header = ("members", "epochs", "attack, layer", "AUC [95 %]", "TPR at 1 % FPR [95 %]", "targets")
    return formats.markdown(
        header, body, "Leaks by members and epochs; intervals allow for images and targets in common"
    )


def _every(lines: Sequence[Line]) -> str:
    """The table of all lines: AUC and TPR at 1 % FPR of each cell, means over the seeds."""
    places = _places(lines)
    body = [(line.name, *(_cell(line, place) for place in places)) for line in lines]
    header = ("attack, layer", *(f"{members:,} x {epochs}" for members, epochs in places))
    return formats.markdown(
        header,
        body,
        "Every attack: AUC / TPR at 1 % FPR at members x epochs, means over the seeds, a threshold for each",
    )


def _cell(line: Line, place: At) -> str:
    texts = []
    for name, figure in FIGURES.items():
        here = [one.value for one in line.cells[name] if (one.members, one.epochs) == place]
        texts.append(number(figure.chance + sum(here) / len(here)) if here else "-")
    return " / ".join(texts)


def _slopes(lines: Sequence[Line], laws: Mapping[str, Laws]) -> str:
    """The table of all slopes, or the sentence on why there are none at all."""
    fits = {line.name: laws[line.name] for line in lines if isinstance(laws[line.name]["auc"], PowerLaw)}
    if not fits:
        return f"No slopes: {laws[lines[0].name]['auc']}."
    header = (
        "attack, layer",
        *(f"{one.name} against {axis}" for one in FIGURES.values() for axis in ("members", "epochs")),
    )
    body = [(name, *(cell for figure in FIGURES for cell in slopes_of(found[figure]))) for name, found in fits.items()]
    absent = sorted({f"{line.name}: {laws[line.name]['auc']}." for line in lines if line.name not in fits})
    table = formats.markdown(header, body, "Slopes in log-log [95 %], fitted for each seed")
    return "\n\n".join([table, *absent])


def _caption(rows: Sequence[Row]) -> str:
    first, seeds = rows[0], sorted({row["seed"] for row in rows})
    invalid = sum(word(row) == "invalid" for row in rows)
    return (
        f"{first['dataset']}, {first['arch']}, {first['backbone']}, seeds {', '.join(map(str, seeds))}, "
        f"{len({row['job'] for row in rows})} audits. Every encoder of an audit is the target in turn, judged by the "
        "others but its complement: as many members as non-members of "
        "each target. TPR at 1 % FPR: by one threshold for all targets; - where they have fewer than 500 non-members "
        "together. A slope of -1 against members halves the figure where they are doubled. Slopes are fitted for each "
        "seed by Poisson's likelihood, with Student's 95 % interval over the seeds; a prediction's is that of one "
        "further seed. An AUC cannot pass 1, so that its slopes flatten where it comes near. A null test of an audited "
        f"encoder failed in {invalid} of {len(rows)} rows (table.csv says which)."
    )


main = partial(command, "scale", render, legs=legs)


if __name__ == "__main__":
    sys.exit(main())

"""What a fitted law of leaks says in words and tables, and the command that asks it for a prediction."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from experiments import _cells as cells
from experiments._grid import jobs
from experiments._leaks import Figure, Line
from experiments._power_law import PowerLaw, check_range
from experiments._reproduce import Legs, choose_grid, one_leg, reproduce
from lpla.contracts.result import InputError
from lpla.metrics.roc import Estimate
from lpla.metrics.targets import FEWEST
from lpla.report import formats
from lpla.report.rows import Row, number

At = tuple[int, int]
"""Members and epochs."""
Laws = Mapping[str, PowerLaw | str]
Render = Callable[..., Sequence[Path]]
"""A sweep's folder, and `at` = the members and epochs of a prediction or None -> the files."""


def doubled(line: Line, laws: Laws) -> str:
    """The sentence on what twice the members, and twice the epochs, make of AUC - 0.5, or on why there is no fit."""
    if isinstance(law := laws["auc"], str):
        return f"{line.name}: {law}."
    times = (told(Estimate(*(2.0**end for end in (one.value, one.low, one.high))), law) for one in law.slopes)
    members, epochs = times
    return f"{line.name}: twice the members make AUC - 0.5 {members} times as large, twice the epochs {epochs} times."


def slopes(line: Line, laws: Laws, figures: Mapping[str, Figure]) -> str:
    """The table of a line's slopes, a row for each figure."""
    header = ("figure", "slope against members [95 %]", "slope against epochs [95 %]")
    body = [(figures[figure].name, *slopes_of(law)) for figure, law in laws.items()]
    seeds = len({one.seed for one in line.cells["auc"]})
    title = f"{line.name}: slopes in log-log over {seeds} seeds, {line.targets} targets in turn"
    return formats.markdown(header, body, title + (f" {cells.INVALID}" if line.invalid else ""))


def slopes_of(law: PowerLaw | str) -> tuple[str, str]:
    """The slopes against members and epochs as they stand in a table; what there is instead in the first cell."""
    if isinstance(law, str):
        return law, "-"
    against_members, against_epochs = (told(one, law) for one in law.slopes)
    return against_members, against_epochs


def grid(line: Line, laws: Laws) -> str:
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


def prediction(law: PowerLaw, figure: Figure, at: At) -> str:
    """The sentence for so many members and epochs; an AUC, and a rate, ends at 1."""
    found, (members, epochs) = law.predict(*at), at
    found = Estimate(*(min(figure.chance + one, figure.most) for one in (found.value, found.low, found.high)))
    name = figure.name.partition(" - ")[0] + ("" if figure.chance else " of the scores")
    told_as = told(found, law)
    return f"Predicted at {members:,} members and {epochs:,} epochs: {name} {told_as} for the mean of one further seed."


def told(one: Estimate, law: PowerLaw) -> str:
    """An estimate with its interval; without one where the seeds are too few."""
    if len(law.fits) < FEWEST:
        return f"{one.value:.2f} (no interval from fewer than {FEWEST} seeds)"
    return f"{one.value:.2f} [{one.low:.2f} {one.high:.2f}]"


def records(line: Line, laws: Laws) -> list[Row]:
    """A flat row for each figure of each cell."""
    found: list[Row] = []
    for figure, some in line.cells.items():
        law = laws[figure]
        for one in some:
            fitted = None if isinstance(law, str) else law.at(one.members, one.epochs)
            found.append({"line": line.name, "figure": figure, **vars(one), "fitted": fitted})
    return found


def command(name: str, render: Render, arguments: Sequence[str] | None = None, legs: Legs = one_leg) -> int:
    """The command line of such an experiment; a prediction too far from the grid is refused before anything is trained.

    Args:
        name: of the experiment.
        render: what a sweep's folder becomes.
        arguments: of the command line; None: those of this process.
        legs: the sweeps of which the experiment is made.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", add_help=False)
    parser.add_argument("--members", type=int)
    parser.add_argument("--epochs", type=int)
    own, rest = parser.parse_known_args(arguments)
    if (own.members is None) != (own.epochs is None):
        print("error: --members and --epochs must be given together, got one of them")
        return 1
    at = None if own.members is None else (own.members, own.epochs)
    if at and "--render" not in rest:
        try:
            named = f"experiment={choose_grid(name, rest)}"
            rest = [named, *(one for one in rest if not one.startswith("experiment="))]
            _check_at(at, legs(rest))
        except InputError as mistake:
            print(f"error: {mistake}")
            return 1
    return reproduce(name, partial(render, at=at), rest, legs)


def _check_at(at: At, sweeps: Sequence[Sequence[str]]) -> None:
    every = [job for sweep in sweeps for job in jobs(sweep)]
    told_to = [{name: value for name, _, value in (one.partition("=") for one in job)} for job in every]
    members, epochs = ([int(job[name]) for job in told_to] for name in ("members", "epochs"))
    check_range(members, epochs, *at)

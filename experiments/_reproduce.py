"""From one command to a finished experiment: choose the grid, say what it takes, sweep, render what the sweep left."""

from __future__ import annotations

import argparse
import logging
import runpy
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from hydra.core.global_hydra import GlobalHydra

from experiments._grid import jobs, look_ahead
from experiments._origin import keep_grid, part
from lpla.auditing.command_line import check_once
from lpla.contracts.inputs import InputError

ROOT = Path(__file__).parents[1]
Render = Callable[[Path], Sequence[Path]]
"""A sweep's folder -> the files that it was rendered to; raises InputError where there is nothing to render."""
Legs = Callable[[Sequence[str]], list[list[str]]]
"""Overrides -> those of the sweeps of which an experiment is made, whose jobs stand in one folder."""


def one_leg(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides as those of one sweep."""
    return [list(overrides)]


def reproduce(name: str, render: Render, arguments: Sequence[str] | None = None, legs: Legs = one_leg) -> int:
    """The command line of one experiment.

    Args:
        name: Of the experiment.
        render: What the folder becomes.
        arguments: Of the command line; None: those of this process.
        legs: The sweeps of which the experiment is made, one after the other; each but the only one needs a name of
            its own for the folders of its jobs (hydra.sweep.subdir).

    Returns:
        The exit code: 1 if a job failed or nothing was measured.
    """
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description="Run or resume one experiment.")
    parser.add_argument("--render", type=Path, metavar="FOLDER", help="render what a sweep left there, run nothing")
    parser.add_argument("overrides", nargs="*", help="settings and axes as of run.py: data.root=PATH seed=0,1,2")
    options = parser.parse_args(arguments)
    try:
        if options.render:
            return _show(render, options.render)
        grid = choose_grid(name, options.overrides)
        overrides = [f"experiment={grid}", *(o for o in options.overrides if not o.startswith("experiment="))]
        _require_one_axis_of_attacks(overrides)
        sweeps = legs(overrides)
        _announce(sweeps)
        folder = Path("outputs") / f"{grid}_{time.strftime('%Y-%m-%d_%H-%M-%S')}"
        code = _sweep_all(sweeps, folder)
        if not folder.is_dir():
            return code
        keep_grid(folder, sum(len(jobs(one)) for one in sweeps))
        return max(code, _show(render, folder))
    except InputError as mistake:
        print(f"error: {mistake}")
        return 1


def choose_grid(name: str, overrides: Sequence[str]) -> str:
    """The experiment that is named, or else the full grid where there is a GPU and the small one elsewhere.

    Raises InputError for a setting that is given twice, of which only one would count.
    """
    check_once(overrides)
    for override in overrides:
        if override.startswith("experiment="):
            return override.partition("=")[2]
    if torch.cuda.is_available():
        print(f"{name}: the full grid, on {torch.cuda.get_device_name()}")
        return name
    print(f"{name}: no CUDA GPU was found, so the small grid is taken; the full one: experiment={name}")
    return f"{name}_small"


def _require_one_axis_of_attacks(overrides: Sequence[str]) -> None:
    """Raises InputError where a grid whose axis is the form of the attack is told the attack as well."""
    told = next((one for one in overrides if one.startswith("attack=")), None)
    if told and any(one.startswith("experiment/contender=") for one in jobs(overrides)[0]):
        raise InputError(
            f"experiment/contender must choose the attacks of this grid (its options: python run.py --help), got {told}"
        )


def _announce(sweeps: Sequence[Sequence[str]]) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lightning's of a few timed steps without a logger, and of a name that torch has deprecated.
        warnings.simplefilter("ignore")
        ahead = look_ahead(sweeps, print)
    for sentence in ahead.impossible:
        print(f"cannot run, and will be an empty cell: {sentence}")
    hours = f"{ahead.seconds / 3600:.2f} h of training on one device, queries and attacks not counted"
    print(f"{ahead.missing} of {ahead.needed} encoders to train, about {hours}")
    print("when stopped, the same command goes on with what is missing", flush=True)


def _sweep_all(sweeps: Sequence[Sequence[str]], folder: Path) -> int:
    """Run sweeps into one folder; the first that was stopped, as by Ctrl-C, is the last."""
    worst = 0
    for sweep in sweeps:
        code = _sweep([*sweep, f"hydra.sweep.dir={folder}"])
        worst = max(worst, code)
        if code > 1:
            break
    return worst


def _sweep(overrides: Sequence[str]) -> int:
    """`python run.py OVERRIDES` within this process, so that a signal reaches it as it would there."""
    GlobalHydra.instance().clear()
    given, sys.argv = sys.argv, ["run.py", *overrides]
    try:
        runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = given
    return 0


def _show(render: Render, folder: Path) -> int:
    for file in render(folder):
        print(f"rendered: {file}")
    if said := part(folder):
        print(said)
    return 0

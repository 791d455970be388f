"""`lpla plan SETTING=VALUE ...`: what a command would make and cost, before it starts; nothing is trained for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpla.contracts.commands import command_parser, ending_in_one_sentence

if TYPE_CHECKING:
    from lpla.auditing.ahead import Ahead
    from lpla.auditing.settings import Settings

HELP = """Say what a command would make and cost before it starts: encoders, samples, views, time, disk and memory.

Write the settings as you would write them after lpla. Nothing is trained for good, and nothing is written to the store:
encoders that it holds are counted as found. Jobs of a sweep (-m) share encoders, which are counted once. A few steps
and views are timed here (--untimed leaves that out); --bench adds a machine from what it measured itself."""
EXAMPLES = """examples:
  {prog} members=1000 epochs=400
  {prog} -m p=1,2 queries=1,4,16
  {prog} experiment=size_small --bench h100.json
a machine's file is written there by: python -m benchmarks training extraction --json h100.json
"""
WIDTH = 9


def parser(prog: str = "lpla plan") -> argparse.ArgumentParser:
    """Return the parser of `lpla plan`, with its help."""
    made = command_parser(prog, HELP, EXAMPLES.format(prog=prog), allow_abbrev=False)
    made.add_argument("settings", metavar="SETTING=VALUE", nargs="*", help="as after lpla")
    made.add_argument("-m", "--multirun", action="store_true", help="the settings are those of a sweep")
    made.add_argument("--untimed", action="store_true", help="time no step and no view on this machine")
    made.add_argument("--bench", metavar="FILE", type=Path, action="append", default=[],
                      help="a benchmark's file of another machine, for its time; may be given again")  # fmt: skip
    return made


def show(arguments: Sequence[str], prog: str = "lpla plan") -> None:
    """Print what lies ahead; a mistake, or a job that would not begin, ends the process with code 1."""
    given = parser(prog).parse_intermixed_args(arguments)
    with ending_in_one_sentence():
        from lpla.auditing.ahead import ahead
        from lpla.auditing.machines import read_machines

        machines = [one for file in given.bench for one in read_machines(file)]
        found = ahead(_jobs(given.settings, given.multirun))
        print("\n".join(_counts(found)), flush=True)
        if found.samples.total() + found.views.total():
            print(_line("time here", "not timed" if given.untimed else _here(found)))
            for one in machines:
                where = f" on {one.name}, by operations of the network"
                print(_line("time", _seconds(found, *one.seconds(found), where=where)))
    for sentence in found.refused:
        print(f"would not begin: {sentence}", file=sys.stderr)
    if found.refused:
        sys.exit(1)


def _jobs(settings: Sequence[str], multirun: bool) -> list[Settings]:
    from lpla.auditing.command_line import check_once
    from lpla.auditing.settings import composed, is_sweep, jobs

    check_once(settings)
    if not multirun and not is_sweep(settings):
        return [composed(settings)]
    return [
        composed([*(one for one in job if not one.startswith("hydra.mode=")), "hydra.mode=RUN"])
        for job in jobs(settings)
    ]


def _counts(found: Ahead) -> list[str]:
    from lpla.auditing.dearest import gib

    jobs = f" of {found.jobs} jobs" if found.jobs > 1 else ""
    memory = {"training": found.training, "extraction": found.extraction, "judging": found.judging}
    needed = ", ".join(f"{part} {gib(size)}" for part, size in memory.items() if size) or "nothing to make"
    return [
        _line("encoders", f"{found.to_train} to train, {found.found} found in the store{jobs}"),
        _line("samples", f"{found.samples.total():,} images to train on, each epoch anew"),
        _line("views", f"{found.views.total():,} to ask of encoders"),
        _line("disk", f"{gib(found.disk)} at most, in the store"),
        _line("memory", needed),
        *(_line("privacy", one) for one in found.guarantees),
    ]


def _here(found: Ahead) -> str:
    """The time on this machine, or why it is not known."""
    if found.untimed:
        return f"not known: {found.untimed}"
    from lpla.auditing.ahead import rates

    samples, views = rates(found, lambda said: print(said, file=sys.stderr, flush=True))
    training = sum(found.samples[kind] / rate for kind, rate in samples.items())
    return _seconds(found, training, sum(found.views[kind] / rate for kind, rate in views.items()), found.fits)


def _seconds(found: Ahead, training: float, views: float, fits: float = 0.0, *, where: str = "") -> str:
    """Say how long what can be timed takes, by its parts, and that a given encoder cannot be."""
    from lpla.auditing.dearest import duration

    parts = {"training": training, "views": views, "judging": fits}
    told = ", ".join(f"{part} {duration(seconds)}" for part, seconds in parts.items() if seconds)
    untimed = "views of a given encoder are not timed"
    if not told:
        return f"not known{where}: {untimed}"
    given = f" ({untimed})" if found.views[""] else ""
    return f"about {duration(training + views + fits)} one encoder after the other ({told}){where}{given}"


def _line(name: str, text: str) -> str:
    return f"{name:{WIDTH}}  {text}"

"""What defences are worth: leak against utility under an attacker who knows them, beside training less, which is free.

`make reproduce-defences`, or `python -m experiments.defences [KEY=VALUE ...] [--render FOLDER]`. Every defence of
`experiments/_families.py` is audited at every value of its knob in every cell of the grid, by every attack; encoders
are shared where the training is the same. A stopped run goes on where it was: each audit leaves a file of its own,
and the same command may run as often side by side as there are cores.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import logging
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments._audit_files import held, require_same
from experiments._defences_text import render
from experiments._families import KNOBS, RELEASE, Point, points
from experiments._grid import jobs, look_ahead_of
from experiments._reproduce import choose_grid
from lpla.auditing.job import audit
from lpla.auditing.settings import composed
from lpla.contracts.inputs import InputError
from lpla.contracts.rows_json import to_json
from lpla.contracts.settings import shown
from lpla.training.signals import check, stoppable
from lpla.work.dispatch import quieten_lightning

log = logging.getLogger(__name__)

SELECTED = "families="
"""The one setting of this command alone: which families are audited, by commas."""
NAIVE_CELL = ("dataset=digits", "arch=simclr")
"""Where an attacker who does not know the defence is asked too."""

Job = tuple[Point, list[str], Path]
"""A defence, the settings of one audit, and the file of its rows."""


def ahead(overrides: Sequence[str], folder: Path) -> list[Job]:
    """Return all audits, those of one data set after the other.

    Args:
        overrides: the grid and what the user set.
        folder: where each leaves its file.

    Raises:
        InputError: if a family is asked for that there is not.
    """
    chosen = next((one.partition("=")[2].split(",") for one in overrides if one.startswith(SELECTED)), None)
    for family in chosen or ():
        if family not in KNOBS:
            raise InputError(f"families must name defences, each one of {', '.join(KNOBS)}, got {shown(family)}")
    grid = jobs([one for one in overrides if not one.startswith(SELECTED)])
    found = [*_jobs(grid, folder, points()), *_jobs(_naive_cells(grid), folder, points(naive=True))]
    order = list(dict.fromkeys(_setting(job, "dataset") for _, job, _ in found))
    kept = [one for one in found if chosen is None or one[0].family in chosen]
    return sorted(kept, key=lambda one: order.index(_setting(one[1], "dataset")))


def _jobs(grid: Sequence[list[str]], folder: Path, some: Iterator[Point]) -> list[Job]:
    found = []
    for point in some:
        for job in grid:
            cell = "_".join(_setting(job, name) for name in ("dataset", "arch", "seed"))
            found.append((point, [*job, *point.overrides], folder / "rows" / cell / f"{point.name}.json"))
    return found


def _naive_cells(grid: Sequence[list[str]]) -> list[list[str]]:
    return [job for job in grid if all(one in job for one in NAIVE_CELL)]


def _setting(job: Sequence[str], name: str) -> str:
    return next((one.partition("=")[2] for one in job if one.startswith(f"{name}=")), "")


def run(todo: Sequence[Job]) -> int:
    """Audit what has no file yet; returns 1 if an audit failed for another reason than a refusal of its settings."""
    failed = 0
    for number, (point, job, file) in enumerate(todo, 1):
        check()
        with _claimed(file) as ours:
            if ours and not _is_done(file, job):
                failed |= _audit(point, job, file, f"{number} of {len(todo)}: {file.parent.name}, {point.name}")
    return failed


@contextmanager
def _claimed(file: Path) -> Iterator[bool]:
    """Whether no other process does this audit; within, it is ours, and a process that dies leaves it to others."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _audit(point: Point, job: Sequence[str], file: Path, what: str) -> int:
    """Audit and leave the file; returns 1 if that failed for another reason than a refusal of the settings."""
    start = time.monotonic()
    found: dict[str, Any] = {"family": point.family, "knob": point.knob, "naive": point.naive, "overrides": job}
    try:
        found["rows"] = json.loads(to_json(audit(composed([*job, "hydra.mode=RUN"]), None)))
    except InputError as refused:
        found["error"] = str(refused)
    except Exception:
        log.exception("%s failed; the others go on", what)
        return 1
    file.with_suffix(".part").write_text(json.dumps(found, indent=1))
    file.with_suffix(".part").replace(file)
    said = f": {found['error']}" if "error" in found else ""
    print(f"{what}, {time.monotonic() - start:.0f} s{said}", flush=True)
    return 0


def _is_done(file: Path, job: Sequence[str]) -> bool:
    """Whether the file is there, whole and of the same settings; a refusal is not: its reason may be gone by now."""
    found = held(file)
    return found is not None and "error" not in found and found.get("overrides") == list(job)


def _announce(todo: Sequence[Job]) -> None:
    """Count the encoders and time a few steps; defences of the release train none of their own."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    distinct = [job for point, job, file in todo if point.family not in RELEASE and not point.naive]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, of a few timed steps without a logger
        found = look_ahead_of(distinct, print)
    for sentence in found.impossible:
        print(f"cannot run, and will be an empty cell: {sentence}")
    done = sum(_is_done(file, job) for _, job, file in todo)
    print(f"{len(todo) - done} of {len(todo)} audits to do; {found.missing} of {found.needed} encoders to train, about "
          f"{found.seconds / 3600:.2f} h of training on one device, queries and attacks not counted")  # fmt: skip
    print("when stopped, the same command goes on with what is missing", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 if an audit failed or a bound contradicts a guarantee."""
    parser = argparse.ArgumentParser(prog="python -m experiments.defences", description=__doc__)
    parser.add_argument("--render", type=Path, metavar="FOLDER", help="render what was left there, run nothing")
    parser.add_argument("--silent", action="store_true", help="do not count and time what lies ahead")
    parser.add_argument("overrides", nargs="*", help="settings as of run.py, and families=NAME,NAME for some alone")
    options = parser.parse_args(arguments)
    quieten_lightning()
    logging.getLogger("lpla").setLevel(logging.WARNING)
    try:
        if options.render:
            return _show(options.render)
        grid = choose_grid("defences", options.overrides)
        given = [f"experiment={grid}", *(o for o in options.overrides if not o.startswith("experiment="))]
        folder = Path("outputs") / grid
        todo = ahead(given, folder)
        require_same((job for _, job, _ in todo), folder)
        if not options.silent:
            _announce(todo)
        with stoppable():
            code = run(todo)
        return max(code, _show(folder))
    except InputError as mistake:
        print(f"error: {mistake}")
        return 1


def _show(folder: Path) -> int:
    """Say what was rendered; 1 if a bound on epsilon contradicts what a defence guarantees."""
    files, contradicted = render(folder)
    for file in files:
        print(f"rendered: {file}")
    for sentence in contradicted:
        print(f"error: {sentence}")
    return int(bool(contradicted))


if __name__ == "__main__":
    sys.exit(main())

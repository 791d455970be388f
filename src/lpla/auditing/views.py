"""`lpla views plan`: the views of an audit as files, for whoever runs the encoder and gives out vectors alone.

lpla views plan DIR data.members=photos/in data.nonmembers=photos/out
lpla target=embeddings target.views=DIR target.file=answers.npy data.members=photos/in data.nonmembers=photos/out
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from lpla.contracts.commands import command_parser, ending_in_one_sentence
from lpla.contracts.result import InputError

DESCRIBED = """Write the views that an audit asks an encoder about, so that any program or service can answer them.
The audit then reads the table of its answers (target=embeddings), and needs neither the model nor its file."""
OF_ANSWERS = ("target.file", "target.views", "target.shadows", "target.reference")
"""Settings of the audit that are not there yet when views are planned, and of which views do not depend."""
UNANSWERED = "lpla.encoders.target.embeddings.Unanswered"


def show(arguments: Sequence[str], prog: str = "lpla views") -> None:
    """Plan; ends the process with one sentence for a mistake."""
    given = parser(prog).parse_args(arguments)
    with ending_in_one_sentence():
        for line in plan(Path(given.folder), given.settings):
            print(line)


def parser(prog: str = "lpla views") -> argparse.ArgumentParser:
    """Return the parser of `lpla views`, with its help."""
    end = f"example: {prog} plan views data.members=photos/in data.nonmembers=photos/out"
    made = command_parser(prog, DESCRIBED, end)
    steps = made.add_subparsers(dest="step", metavar="STEP", required=True)
    words = "write each view as a PNG file and all as views.npy, and list them with their ids in views.csv"
    planned = steps.add_parser(
        "plan",
        help=words,
        description=f"{words[0].upper()}{words[1:]}.",
        epilog=end,
        formatter_class=made.formatter_class,
    )
    planned.add_argument("folder", metavar="DIR", help="the folder to write, new or empty")
    told = "settings of the audit that will read the answers: data.members, data.nonmembers, queries, seed, ..."
    planned.add_argument("settings", metavar="SETTING", nargs="*", default=[], help=told)
    return made


def plan(folder: Path, told: Sequence[str]) -> list[str]:
    """Write the views that an audit asks for.

    Args:
        folder: where; it must be new, empty or one of the same plan.
        told: settings of the audit, as on its command line; target=embeddings may be among them.

    Returns:
        Lines on what was written and what to do with it.

    Raises:
        InputError: for settings that cannot be used, or a folder that holds something else.
    """
    from lpla.auditing import plan as audit
    from lpla.auditing.settings import composed
    from lpla.work.planned import write_views
    from lpla.work.progress import Bars

    kept = [one for one in told if not one.startswith(("target=", "target.file=", "target.views="))]
    told = [one for one in told if not one.startswith(OF_ANSWERS)]
    targets = [one for one in told if one.startswith("target=")]
    if targets not in ([], ["target=embeddings"]):
        raise InputError(f"views are planned for target=embeddings, got {targets[0]}, which answers by itself")
    settings = composed([*([] if targets else ["target=embeddings"]), *told])
    settings.config.target = {"_target_": UNANSWERED}
    if settings.config.knowledge.kind in ("shadows", "one_shadow") and settings.config.knowledge.arch == "same":
        settings.config.knowledge.kind = "labels"  # The same views: shadows of the user's own answer them too.
    work, said = audit.plan(settings), [one for one in told if one not in targets]
    with Bars() as bars:
        found = write_views(folder, work.images, work.encoders.target.unit.asked(), said, bars)
    count, images = len(found.digests), len(set(found.images))
    again = shlex.join(["lpla", "target=embeddings", f"target.views={folder}", "target.file=answers.npy", *kept])
    return [
        f"{folder}: {count} views of {images} images, as PNG files (png/) and as views.npy; ids in views.csv",
        "answer each view by one vector: an array of a row for each id (.npy), or a table with a column id (.npz, "
        ".csv, .parquet)",
        f"next: {again}",
    ]

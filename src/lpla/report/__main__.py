"""`lpla report DIR`: write the page and the tables of a job or a sweep again, from what lies in its folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parser(prog: str = "lpla report") -> argparse.ArgumentParser:
    """What `lpla report` takes."""
    described = (
        "Write report.html and the tables (CSV, Markdown, LaTeX) of an audit or a sweep again; nothing is trained."
    )
    made = argparse.ArgumentParser(
        prog=prog, description=described, epilog=f"example: {prog} outputs/2026-01-31_12-00-00"
    )
    what = "the folder of a job or of a sweep, below outputs/; - for those that standard input names, one a line"
    made.add_argument("folder", metavar="DIR", type=Path, help=what)
    made.add_argument("--pdf", action="store_true", help="print the page to report.pdf too, by Chromium or Chrome")
    return made


def main(arguments: Sequence[str] | None = None, prog: str = "python -m lpla.report") -> None:
    """Write a folder's report again; arguments that cannot be used end the process with one sentence."""
    asked = parser(prog)
    told = asked.parse_args(arguments)
    folder = told.folder
    if told.pdf and folder == Path("-"):
        asked.error("--pdf needs the folder of one job or sweep, got - (those that standard input names)")

    from lpla.report.page import write, write_or_warn

    if folder == Path("-"):
        for line in sys.stdin:
            write_or_warn(Path(line.removesuffix("\n")))
        return
    try:
        written = write(folder)
    except FileNotFoundError as absent:
        asked.error(str(absent))
    print("\n".join(map(str, written)))
    if told.pdf:
        from lpla.contracts.commands import ending_in_one_sentence
        from lpla.report.pdf import print_page

        with ending_in_one_sentence():
            print(print_page(written[0]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

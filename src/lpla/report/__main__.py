"""`python -m lpla.report FOLDER`: the page and the tables again, from what lies in a job's or a sweep's folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m lpla.report", description=__doc__)
    what = "of a job or of a sweep, below outputs/; - for those that standard input names, one a line"
    parser.add_argument("folder", type=Path, help=what)
    folder = parser.parse_args().folder

    from lpla.report.page import write, write_or_warn

    if folder == Path("-"):
        for line in sys.stdin:
            write_or_warn(Path(line.removesuffix("\n")))
        return
    try:
        written = write(folder)
    except FileNotFoundError as absent:
        parser.error(str(absent))
    print("\n".join(map(str, written)))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

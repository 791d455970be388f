"""`python -m lpla.report FOLDER`: the page and the tables again, from what lies in a job's or a sweep's folder."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m lpla.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a job or of a sweep, below outputs/")
    folder = parser.parse_args().folder

    from lpla.report.page import write

    try:
        written = write(folder)
    except FileNotFoundError as absent:
        parser.error(str(absent))
    print("\n".join(map(str, written)))


if __name__ == "__main__":
    main()

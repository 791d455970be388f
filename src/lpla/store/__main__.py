"""`python -m lpla.store`: list what a store holds, explain what sets an artifact apart, prune what is old."""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import time
from pathlib import Path

from filelock import FileLock, Timeout

from lpla.store.artifacts import HELD, Store


def main(arguments: list[str] | None = None) -> None:
    """Command line: list what the store holds, explain what sets an artifact apart, prune what is old."""
    parser = argparse.ArgumentParser(prog="python -m lpla.store.artifacts", description=main.__doc__)
    parser.add_argument("--store", default="store", help="the store's folder (default: ./store)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="kind, key, size and age of every artifact")
    explain = commands.add_parser(
        "explain", help="the key parts in which an artifact differs from its nearest neighbour"
    )
    explain.add_argument("key", help="the first digits of a key, as `list` shows it")
    prune = commands.add_parser(
        "prune", help="delete artifacts older than DAYS, and what was left unfinished or damaged"
    )
    prune.add_argument("days", type=float, help="age in days; 0 empties the store")
    options = parser.parse_args(arguments)
    store = Store(options.store)
    if options.command == "list":
        for kind, place, _ in store.artifacts():
            print(f"{kind:12} {place.name} {_bytes(place) / 1e6:9.2f} MB {_days(place):6.1f} days")
    elif options.command == "explain":
        for kind, place, parts in store.artifacts():
            if place.name.startswith(options.key):
                print(f"{kind} {place.name}", *(store.nearest(kind, parts) or ["nothing to compare with"]), sep="\n  ")
    else:
        old = [place for _, place, _ in store.artifacts() if _days(place) >= options.days]
        # A draft younger than a day may still be written to; a training has its scratch for as long as it takes.
        left = [p for p in _inside(store.root / "unfinished") if _days(p) >= 1 and not _held(p)]
        left += _inside(store.root / "damaged")
        freed = sum(_bytes(place) for place in old + left)
        for place in old + left:
            shutil.rmtree(place)
        print(f"deleted {len(old)} artifacts and {len(left)} leftovers, {freed / 1e6:.2f} MB")


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _held(draft: Path) -> bool:
    try:
        with FileLock(draft / HELD, timeout=0):
            return False
    except Timeout:
        return True


def _bytes(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def _days(place: Path) -> float:
    return (time.time() - (place.stat().st_mtime if place.exists() else math.inf)) / 86_400


if __name__ == "__main__":
    # A reader that has seen enough (`list | head`) is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()

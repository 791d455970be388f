"""`lpla store`: list what a store holds, explain what sets an artifact apart, prune what is old."""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from lpla.contracts.commands import command_parser
from lpla.contracts.result import InputError
from lpla.store.artifacts import ANSWERS, HELD, Store, is_folder, last_use


def main(arguments: Sequence[str] | None = None, prog: str = "python -m lpla.store") -> None:
    """Run the store's command line: list, explain or prune; a folder that is no store is refused and left as it is."""
    options = parser(prog).parse_args(arguments)
    try:
        store = Store(options.store, create=False)
    except InputError as refused:
        sys.exit(f"error: {refused}")
    if options.command == "list":
        _list(store)
    elif options.command == "explain":
        _explain(store, options.key)
    else:
        _prune(store, options.days, options.dry_run, options.answers)


def parser(prog: str = "lpla store") -> argparse.ArgumentParser:
    """Return the parser of `lpla store`, with its help; the store's folder may stand before or after the command."""
    described = (
        "Look after the folder in which audits keep what they trained and observed, so that the next one finds it.\n"
        "Deleting costs time alone: the next audit that needs an artifact makes it again. Answers of services,\n"
        "which were paid for, are deleted with --answers alone."
    )
    end = f"examples:\n  {prog} list\n  {prog} prune 30 --dry-run\n  {prog} --store data/decoded prune 0"
    made = command_parser(prog, described, end)
    made.add_argument("--store", metavar="DIR", default="store", help="the store's folder (default: ./store)")
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    words = {
        "list": "show kind, key, size and days since the last use of every artifact, and their total",
        "explain": "show the key parts in which an artifact differs from its nearest neighbour",
        "prune": "delete artifacts that no job used for DAYS days, and what was left unfinished or damaged",
    }
    epilogs = {
        "prune": "DAYS must be given with --dry-run too: `prune 30 --dry-run` says what `prune 30` would delete."
    }
    below = {
        name: commands.add_parser(
            name, help=said, description=f"{said[0].upper()}{said[1:]}.", epilog=epilogs.get(name)
        )
        for name, said in words.items()
    }
    for one in below.values():
        one.add_argument(
            "--store", metavar="DIR", default=argparse.SUPPRESS, help="the store's folder (default: ./store)"
        )
    below["explain"].add_argument("key", metavar="KEY", help="the first digits of a key, as `list` shows it")
    what = "days since the last use, 0 or more; 0 empties the store"
    below["prune"].add_argument("days", metavar="DAYS", type=_days_given, help=what)
    below["prune"].add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")
    paid = "delete answers of services too, which were paid for and are counted against target.max_queries"
    below["prune"].add_argument("--answers", action="store_true", help=paid)
    return made


def _days_given(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (days := float(text)) < math.inf:
            return days
    raise argparse.ArgumentTypeError(f"DAYS must be a number >= 0, got {text}")


def _list(store: Store) -> None:
    sizes = []
    for kind, place, _ in store.artifacts():
        sizes.append(_bytes(place))
        print(f"{kind:12} {place.name} {sizes[-1] / 1e6:9.2f} MB {_days(place):6.1f} days")
    print(f"{len(sizes)} artifacts, {sum(sizes) / 1e6:.2f} MB")


def _explain(store: Store, key: str) -> None:
    found = [(kind, place, parts) for kind, place, parts in store.artifacts() if place.name.startswith(key)]
    if not found:
        sys.exit(f"error: KEY must be the first digits of a key that `list` shows, got {key}")
    for kind, place, parts in found:
        print(f"{kind} {place.name}", *(store.nearest(kind, parts) or ["nothing to compare with"]), sep="\n  ")


def _prune(store: Store, days: float, dry_run: bool, answers: bool = False) -> None:
    old = [place for kind, place, _ in store.artifacts() if _days(place) >= days and (answers or kind != ANSWERS)]
    # A draft younger than a day may still be written to; a training has its scratch for as long as it takes.
    leftovers = [p for p in _inside(store.root / "unfinished") if _days(p) >= 1 and not _held(p)]
    leftovers += _inside(store.root / "damaged")
    freed = sum(map(_bytes, old + leftovers))
    if dry_run:
        print(*(place.relative_to(store.root) for place in old + leftovers), sep="\n")
    else:
        for place in old + leftovers:
            _delete(store, place)
    said = "would delete" if dry_run else "deleted"
    print(f"{said} {len(old)} artifacts and {len(leftovers)} leftovers, {freed / 1e6:.2f} MB")


def _delete(store: Store, place: Path) -> None:
    """Delete a folder after a rename, so that no other process finds a part of it under its name."""
    away = store.root / "unfinished" / uuid4().hex
    with suppress(FileNotFoundError):  # Another process was first.
        place.rename(away)
        shutil.rmtree(away)


def _inside(folder: Path) -> list[Path]:
    """Folders alone: a link could lead out of the store, and no file is one of ours."""
    return [place for place in folder.iterdir() if is_folder(place)] if is_folder(folder) else []


def _held(draft: Path) -> bool:
    if (draft / HELD).is_symlink() or not (draft / HELD).exists():
        return False
    try:
        with FileLock(draft / HELD, timeout=0):
            return False
    except Timeout:
        return True


def _bytes(place: Path) -> int:
    return sum(file.lstat().st_size for file in place.rglob("*") if file.is_file())


def _days(place: Path) -> float:
    return (time.time() - last_use(place)) / 86_400


if __name__ == "__main__":
    # A reader that has seen enough (`list | head`) is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()

"""The commands of `lpla` share a parser whose help keeps its lines, and the way in which a mistake ends them.

Imports nothing but the standard library, as help must answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lpla.contracts.result import InputError


def command_parser(prog: str, described: str, end: str | None = None, **more: Any) -> argparse.ArgumentParser:
    """Make the parser of a command, which shows its description and its examples line by line.

    Args:
        prog: What the user types to call the command.
        described: What the command does.
        end: Examples, which stand below the arguments.
        more: Further keywords of `argparse.ArgumentParser`.

    Returns:
        The parser, still without arguments.
    """
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog=prog, description=described, epilog=end, formatter_class=form, **more)


@contextmanager
def ending_in_one_sentence(code: int = 1) -> Iterator[None]:
    """End the process with `code`, and with the one sentence of an InputError that is raised within."""
    try:
        yield
    except InputError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(code)

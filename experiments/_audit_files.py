"""The file that each audit of a defence leaves: whether it is whole, and of which settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from experiments._origin import OF_THIS_MACHINE
from lpla.contracts.inputs import InputError

CELL = ("dataset", "arch", "seed")
"""What one folder of audits may differ in, beside the defence."""


def files_of(folder: Path) -> list[Path]:
    """Return those of a folder's audits, in a fixed order."""
    return sorted(folder.glob("rows/*/*.json"))


def held(file: Path) -> dict[str, Any] | None:
    """Return what an audit left; None where there is no such file, or it is damaged."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    names = found.keys() if isinstance(found, dict) else ()
    return found if {"family", "knob"} <= {*names} and ("error" in found or found.get("rows")) else None


def whole(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what the audits below a folder left that measured something, and a sentence on why each other did not."""
    found, others, files = [], [], files_of(folder)
    for file in files:
        left = held(file)
        if left is None:
            others.append(f"{file.stem} in {file.parent.name}: {file} cannot be read; the same command audits it anew")
        elif "error" in left:
            others.append(f"{left['family']} {left['knob']} in {file.parent.name}: {left['error']}")
        else:
            found.append(left)
    return found, [*others, *_absent(files)] if found else others


def _absent(files: Iterable[Path]) -> list[str]:
    """Return a sentence for each cell that lacks an audit which another cell has."""
    there = {(file.parent.name, file.stem) for file in files if not file.stem.endswith("_naive")}
    points = sorted({point for _, point in there})
    lacks = {cell: [one for one in points if (cell, one) not in there] for cell in sorted({cell for cell, _ in there})}
    return [f"{', '.join(some)} in {cell}: not audited yet, or failed" for cell, some in lacks.items() if some]


def require_same(jobs: Iterable[Sequence[str]], folder: Path) -> None:
    """Raise InputError where a folder holds audits of other settings: a table would mix them, a run replace them."""
    wanted = {one for job in jobs for one in _shared(job)}
    for file in files_of(folder):
        found = held(file)
        if found is None or "error" in found:
            continue
        there = set(_shared(found.get("overrides", [])))
        if there != wanted:
            new, old = (" ".join(sorted(some)) or "nothing more" for some in (wanted - there, there - wanted))
            raise InputError(f"{folder} must hold audits of the same settings, got {new} where its audits have {old}: "
                             "move the folder elsewhere, or set these as there")  # fmt: skip


def _shared(job: Sequence[str]) -> list[str]:
    """The settings of an audit less its cell, its defence (which stands last) and what changes no figure."""
    ends = [place for place, one in enumerate(job) if one.startswith("defense=")]
    own = (*(f"{name}=" for name in CELL), *OF_THIS_MACHINE)
    return [one for one in job[: ends[-1] if ends else None] if not one.lstrip("+~").startswith(own)]

"""Result rows as data: read from what jobs left, told apart by their choices, written as CSV; imports no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lpla.contracts.result import columns
from lpla.contracts.rows_json import from_json

Row = Mapping[str, Any]
SETTINGS = "settings"
"""A job's overrides that are no column of their own (see `read_rows`): a choice beside those of `AuditResult`."""

OF_ATTACKER = ("attack.", "knowledge.", "experiment/contender=")
"""How settings begin that are the attacker's: whatever they are, the target is the same."""

UNUSED = ("p", "queries")
"""Choices that some attacks do not use: swept over them, their rows are the same."""

EVIDENCE = ("leaks", "no leak found")
"""How the verdicts begin that let the figures beside them count."""


def choices() -> list[str]:
    """What a row may differ in from another: the choices that a table shows, and the settings without a column."""
    return [*columns("choice", headed=True), SETTINGS]


def target_choices() -> list[str]:
    """The choices that make the target, and so none of the attacker's."""
    return [name for name, one in columns("choice").items() if one.whose == "target"]


def read_rows(folder: Path) -> list[Row]:
    """The rows of every `result.json` below a job's or a sweep's folder, in the order of the jobs.

    `settings` are a job's overrides that are no column of their own, less those that all jobs share.
    """
    rows = []
    for file in sorted(folder.rglob("result.json"), key=lambda file: _job_number(file.parent)):
        job = {"job": file.parent.name, SETTINGS: _settings(file.parent)}
        rows += [job | row for row in _load(file)]
    shared = set[str]().union(*(row[SETTINGS] for row in rows)).intersection(*(row[SETTINGS] for row in rows))
    return [row | {SETTINGS: [one for one in row[SETTINGS] if one not in shared]} for row in rows]


def _load(file: Path) -> list[dict[str, Any]]:
    """A job's rows; one that says so where the file is damaged."""
    try:
        return from_json(file.read_text())
    except ValueError as damage:
        return [{"error": f"{file} cannot be read: {damage}"}]


def as_given(overrides: Any) -> list[str]:
    """Overrides as they were given: a reference among them (seed=${shadows}) is one to the job's settings."""
    from omegaconf import OmegaConf  # which help of `lpla check` and `lpla card` does not wait for

    plain: Any = OmegaConf.to_container(OmegaConf.create(overrides), resolve=False)
    return list(map(str, plain))


def _settings(job: Path) -> list[str]:
    file = job / ".hydra" / "overrides.yaml"
    if not file.exists():
        return []
    from omegaconf import OmegaConf

    overrides, known = as_given(OmegaConf.load(file)), choices()
    return sorted(one for one in overrides if one.partition("=")[0].lstrip("+~") not in known)


def csv_text(rows: Sequence[Row]) -> str:
    """All columns of all rows; an empty cell is a value that was not measurable (see its `notes`)."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: "; ".join(map(str, v)) if isinstance(v, list | tuple) else v for k, v in row.items()})
    return out.getvalue()


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write `csv_text` to a file."""
    with path.open("w", newline="") as out:
        out.write(csv_text(rows))


def differing(rows: Sequence[Row], among: Sequence[str] | None = None) -> list[str]:
    """The choices, of all or of those named, in which the rows differ."""
    return [c for c in among or choices() if len({cell(row.get(c)) for row in rows}) > 1]


def chosen_columns(rows: Sequence[Row]) -> list[str]:
    """The choices that tell one row from another; always the layer."""
    different = differing(rows)
    return [c for c in choices() if c in different or c == "layer"]


def telling(rows: Sequence[Row]) -> list[str]:
    """The choices by which a reader tells one row from another; always the layer, never what an attack's fit took.

    Of several attacks, what follows from an attack's name (its norms, say) is told by that name.
    """
    known, chosen = columns("choice"), chosen_columns(rows)
    chosen = [c for c in chosen if c not in known or known[c].whose != "fit"]
    if "attack" not in chosen:
        return chosen
    values = {c: {(row.get("attack"), cell(row.get(c))) for row in rows} for c in chosen}
    attacks = len({row.get("attack") for row in rows})
    own = [c for c in chosen if c in known and known[c].whose == "attack" and c != "attack"]
    return [c for c in chosen if c not in own or len(values[c]) > attacks]


def distinct(rows: Sequence[Row]) -> list[Row]:
    """The rows without those that repeat an earlier one under another p or budget, which their attack does not use.

    A row repeats another if it has the same choices but for these, and the same AUC and figures, nulls among them.
    """
    same = [one for one in choices() if one not in UNUSED] + list(columns("figure", "bound", "null"))
    found: dict[tuple[str, ...], Row] = {}
    for place, row in enumerate(rows):
        # A row without an AUC has no figures by which to know it again.
        alone = (str(place),) if row.get("auc") is None else ()
        found.setdefault((*(repr(row.get(one)) for one in same), *alone), row)
    return list(found.values())


def word(row: Row) -> str:
    """Return what a verdict begins with: leaks, no leak found at this sample size, undecided, invalid, or nothing."""
    return str(row.get("verdict") or "").partition(":")[0]


def is_evidence(row: Row) -> bool:
    """Return whether the figures of a row say anything: it has an AUC, and is neither invalid nor undecided."""
    return str(row.get("verdict") or "").startswith(EVIDENCE) and row.get("auc") is not None


def cell(value: object) -> str:
    """A choice as it is printed."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "-" if value is None or value == "" else str(value)


def number(value: float | None) -> str:
    """A figure in three decimals, without the leading zero; a count as it is."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A figure and its bounds."""
    return "-" if value is None else f"{number(value)} [{number(low)} {number(high)}]"


def short_label(row: Row, names: Sequence[str]) -> str:
    """A row by what it was chosen to be: no empty choices, no names of choices that explain themselves."""
    known = columns("choice")
    words = []
    for name in names:
        value = cell(row.get(name))
        if value != "-" and not (name in known and known[name].whose == "fit"):
            words.append(value if name == SETTINGS or known[name].plain else f"{name}={value}")
    return " ".join(words)


def _job_number(folder: Path) -> tuple[int, str]:
    return (int(folder.name), "") if folder.name.isdigit() else (0, str(folder))

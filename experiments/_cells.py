"""A table's cells from a sweep's rows: seeds together, failed jobs and undefined attacks as numbered notes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from lpla.contracts.result import InputError
from lpla.contracts.result import columns as known
from lpla.metrics.rotation import Recipe, Rotation, recipe
from lpla.metrics.targets import error_of, over_targets
from lpla.report.outputs import overrides
from lpla.report.rows import OF_ATTACKER, Row, cell, choices, interval, number, target_choices, word

LABELS = ("attack", "knowledge", "layer")
CONTENDER = "experiment/contender"
"""The axis whose options name an attack and its form."""
COLUMNS = ("dataset", "arch")
INVALID = "*"

Label = tuple[str, ...]
Column = tuple[str, str]


class Notes:
    """Sentences under a table, each with one number wherever it is referred to."""

    def __init__(self) -> None:
        self.sentences: dict[str, int] = {}

    def refer(self, sentences: Iterable[str]) -> str:
        """The numbers of these sentences, as they stand in a cell."""
        numbers = (self.sentences.setdefault(one, len(self.sentences) + 1) for one in dict.fromkeys(sentences))
        return " ".join(f"({number})" for number in numbers)


def measured(rows: Sequence[Row]) -> list[Row]:
    """Rows of jobs that did not fail."""
    return [row for row in rows if not row.get("error")]


def require_measured(rows: Sequence[Row], folder: Path) -> list[Row]:
    """Those rows of a sweep's `folder`; raises InputError, with what its jobs said, if there is none."""
    found = measured(rows)
    if not found:
        why = "; ".join(dict.fromkeys(row["error"] for row in rows)) or "there is no result.json"
        raise InputError(f"FOLDER must hold the jobs of a sweep that measured something, but of {folder}: {why}")
    return found


def label_names(rows: Sequence[Row]) -> list[str]:
    """What tells lines of the table apart: LABELS, and what else was swept, so that no cell mixes settings."""
    groups: dict[Any, list[Row]] = {}
    for row in measured(rows):
        groups.setdefault(tuple(cell(row.get(c)) for c in (*LABELS, *COLUMNS, "seed")), []).append(row)
    follows = [name for name, one in known("choice").items() if one.whose == "fit"]
    others = [c for c in choices() if c not in (*LABELS, *COLUMNS, "seed", *follows)]
    swept = [c for c in others if any(len({cell(row.get(c)) for row in group}) > 1 for group in groups.values())]
    return [*LABELS, *swept]


def label(row: Row, names: Sequence[str]) -> Label:
    """The line of a measured row."""
    return tuple(cell(row.get(name)) for name in names)


def labels(rows: Sequence[Row], names: Sequence[str]) -> list[Label]:
    """The table's lines in the order of their attacks; of attacks that failed everywhere too."""
    found = dict.fromkeys(label(row, names) for row in measured(rows))
    layers = dict.fromkeys(row["layer"] for row in measured(rows))
    for failure in map(choices_of, failed(rows)):
        known = {(one[0], one[1].partition(" ")[0]) for one in found}
        contender = failure.get("attack", ""), failure.get("knowledge.kind", "")
        if all(contender) and contender not in known:
            found |= {(*contender, layer, *("-" for _ in names[len(LABELS) :])): None for layer in layers}
    order = {attack: place for place, attack in reversed(list(enumerate(one[0] for one in found)))}
    return sorted(found, key=lambda one: order[one[0]])


def columns(rows: Sequence[Row]) -> list[Column]:
    """Data sets, and frameworks within them, in the order of the jobs; those of which every job failed too."""
    pairs: dict[Column, None] = {}
    for row in rows:
        choices = choices_of(row) if row.get("error") else row
        if all(choices.get(name) for name in COLUMNS):
            pairs[choices["dataset"], choices["arch"]] = None
    order = {dataset: place for place, dataset in reversed(list(enumerate(dataset for dataset, _ in pairs)))}
    return sorted(pairs, key=lambda pair: order[pair[0]])


def failed(rows: Sequence[Row]) -> list[Row]:
    """Rows of jobs that say why there is nothing else to say."""
    return [row for row in rows if row.get("error")]


def missing(rows: Sequence[Row]) -> list[str]:
    """The paragraphs on what failed, and so is missing in a table; none where nothing failed."""
    told_to = ((" ".join(row.get("overrides", ())) or row.get("job", "a job"), row["error"]) for row in failed(rows))
    said = [f"- {job}: {error}" for job, error in told_to]
    return ["Failed, and missing above:", "\n".join(said)] if said else []


def by_contender(rows: Sequence[Row], folder: Path) -> list[Row]:
    """Rows of a sweep's `folder`, each with the option of CONTENDER for its attack where its job was given one."""
    found = []
    for row in rows:
        given = {} if row.get("error") else told(overrides(folder / str(row["job"])))
        found.append({**row, "attack": given[CONTENDER]} if CONTENDER in given else row)
    return found


def told(given: Sequence[str]) -> dict[str, str]:
    """Settings of a job by name."""
    return dict(override.split("=", 1) for override in given if "=" in override)


def choices_of(failure: Row) -> dict[str, str]:
    """What a failed job was told to do."""
    choices = told(failure.get("overrides", ()))
    return choices | ({"attack": choices[CONTENDER]} if CONTENDER in choices else {})


def failures(rows: Sequence[Row], column: Column, attack: str, knowledge: str) -> list[str]:
    """Why jobs of one cell failed; a choice that a failed job does not name may have been any."""
    wanted = {"dataset": column[0], "arch": column[1], "attack": attack, "knowledge.kind": knowledge.partition(" ")[0]}
    return [
        row["error"]
        for row in failed(rows)
        if all(choices_of(row).get(name, value) == value for name, value in wanted.items())
    ]


def undefined(rows: Sequence[Row]) -> list[str]:
    """Why an attack has no score in these rows."""
    return [row["notes"][0] for row in rows if row.get("auc") is None and row.get("notes")]


def encoder(row: Row) -> tuple[str, ...]:
    """The encoder that a measured row is on: rows of several attacks, and of what these know, are on the same."""
    settings = (s for s in row.get("settings", ()) if not s.lstrip("+~").startswith(OF_ATTACKER))
    return (*(cell(row.get(name)) for name in target_choices()), *settings)


def over_seeds(rows: Sequence[Row], name: str) -> tuple[float | None, float | None, float | None]:
    """Mean over the targets of the seeds with the recipe's 95 % interval, of which there is none from two targets.

    Of a single seed its own value and its interval over images, if any; None: not measured.
    """
    there = [row for row in rows if row.get(name) is not None]
    if not there:
        return None, None, None
    own = [(row[name], row.get(f"{name}_low"), row.get(f"{name}_high")) for row in there]
    if len(own) == 1:
        return own[0]
    together = over_targets([value for value, _, _ in own], [error_of(*one) for one in own])
    return together.mean, together.low, together.high


def recipe_of(rows: Sequence[Row], folder: Path) -> Recipe | None:
    """What the encoders of a sweep's rows say together, each the target in turn: one threshold for all seeds.

    Args:
        rows: of one cell, measured; their jobs left `scores.npz` below `folder`.
        folder: of the sweep.

    Returns:
        None where no row was judged so (`targets=one`, or an attack that does not exist there).
    """
    found = [one for row in rows if (one := rotation_of(row, folder))]
    return recipe(found) if found else None


def rotation_of(row: Row, folder: Path) -> Rotation | None:
    """The scores of all encoders of a row as targets in turn, from its job's folder below that of the sweep."""
    file = folder / str(row["job"]) / "scores.npz"
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as held:
            if "rotation_score" not in held:
                return None
            attacks = held.get("attack", [row["attack"]] * len(held["layer"]))
            place = list(zip(attacks, held["layer"], strict=True)).index((row["attack"], row["layer"]))
            score, member, index = held["rotation_score"][place], held["rotation_member"], held["index"]
    except (OSError, EOFError, KeyError, ValueError, BadZipFile, zlib.error) as damage:
        whole = f"remove {file.parent} to see the others without it"
        raise InputError(f"FOLDER must hold whole jobs, but {file} cannot be read ({damage}): {whole}") from damage
    return None if np.isnan(score).all() else Rotation(score, member, index)


def figures(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Figures of one cell, and a star where a null test failed."""
    found = (over_seeds(rows, name) for name in names)
    text = " / ".join(number(value) if low is None else interval(value, low, high) for value, low, high in found)
    return text + (f" {INVALID}" if any(word(row) == "invalid" for row in rows) else "")

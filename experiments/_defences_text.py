"""The frontier of the defences from the files that their audits left: a table, a sentence for each, a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments._audit_files import whole
from experiments._defences_picture import draw
from experiments._families import FREE, KNOBS, PLAIN, UNTRAINED
from experiments._frontier import At, area, over_seeds, verdict
from lpla.contracts.result import InputError
from lpla.metrics.roc import Estimate
from lpla.report import formats
from lpla.report.rows import interval, number, write_csv

LEAKS = {"auc": "AUC", "tpr_at_5pct": "TPR at 5 % FPR"}
UTILITIES = {"knn_accuracy": "kNN accuracy", "linear_accuracy": "linear accuracy"}
PRIMARY = ("auc", "knn_accuracy")
"""The pair that the sentences are on, chosen beforehand."""
CAPTION = (
    "Every figure is of the worst of all attacks, each encoder of an audit the target in turn, against shadows with "
    "the same defence; means over seeds. Utility is that of the audited encoder. In brackets: the range over data "
    "sets and frameworks"
)
AREAS = (
    "How much less a defence leaks at the same utility than the best training of some length (0.25, 0.5, 0.75 or all "
    "of the epochs, or none; for dp also none of its own network, which has group norm), on average over its knob's "
    "range in utility; 95 % intervals of Student over seeds within data sets and frameworks. The row none is the whole "
    "training itself, from which defences of the release start. Rows are not corrected for their number; the verdict "
    "is on AUC and kNN, chosen beforehand"
)
Cell = tuple[str, str, int]
"""Data set, framework, seed."""


@dataclass(frozen=True)
class Audit:
    """One defence at one value of its knob in one cell."""

    family: str
    knob: str
    naive: bool
    cell: Cell
    figures: Mapping[str, float | None]
    """LEAKS of the worst attack, UTILITIES, the bound on epsilon and what is guaranteed, and `own_auc`, the worst AUC
    on the audited encoder."""
    worst: str
    """The attack with the greatest AUC."""


def read(folder: Path) -> tuple[list[Audit], list[str]]:
    """Return the audits that left rows below a folder, and the sentences on why others did not.

    Raises InputError if there is none.
    """
    left, refused = whole(folder)
    if not left:
        why = "; ".join(dict.fromkeys(one.partition(": ")[2] for one in refused)) or "there is none"
        raise InputError(f"FOLDER must hold audits of defences that measured something, but of {folder}: {why}")
    found = [_audit(one) for one in left]
    order = {family: place for place, family in enumerate(KNOBS)}
    return sorted(found, key=lambda one: order.get(one.family, len(order))), refused


def _audit(left: Mapping[str, Any]) -> Audit:
    rows = left["rows"]
    prefix = "" if left["naive"] else "recipe_"
    figures: dict[str, float | None] = {}
    for leak in LEAKS:
        values = [row[prefix + leak] for row in rows if row.get(prefix + leak) is not None]
        figures[leak] = max(values, default=None)
    figures["own_auc"] = max((row["auc"] for row in rows if row.get("auc") is not None), default=None)
    figures |= {name: rows[0][name] for name in UTILITIES}
    bounds = [row["eps_low"] for row in rows if row.get("eps_low") is not None]
    # Before any training there is nothing that the defence could guarantee.
    claimed = None if left["knob"] == UNTRAINED else rows[0].get("claimed_epsilon")
    figures |= {"eps_low": max(bounds, default=None), "claimed_epsilon": claimed}
    measured = [row for row in rows if row.get(f"{prefix}auc") is not None]
    worst = max(measured, key=lambda row: row[f"{prefix}auc"])["attack"] if measured else ""
    first = rows[0]
    return Audit(left["family"], left["knob"], left["naive"], (first["dataset"], first["arch"], first["seed"]),
                 figures, worst)  # fmt: skip


def at(audit: Audit, leak: str, utility: str) -> At | None:
    """Return the point of an audit; None where one of the figures was not measured."""
    u, found = audit.figures[utility], audit.figures[leak]
    return None if u is None or found is None else At(u, found)


def areas(audits: Sequence[Audit], family: str, leak: str, utility: str) -> dict[tuple[str, str], list[float]]:
    """Return the areas of a defence by data set and framework, one for each seed whose free line is whole."""
    found: dict[tuple[str, str], list[float]] = {}
    for cell in sorted({one.cell for one in audits}):
        here = [one for one in audits if one.cell == cell and not one.naive]
        line = free_line(here, leak, utility)
        own = [(one.knob, point) for one in here if one.family == family and (point := at(one, leak, utility))]
        curve = [point for knob, point in own if knob != UNTRAINED]
        also = [point for knob, point in own if knob == UNTRAINED]
        if curve and line is not None:
            found.setdefault(cell[:2], []).append(area(line, curve, also))
    return found


def free_line(here: Iterable[Audit], leak: str, utility: str) -> list[At] | None:
    """Return the points of training less in one cell, the untrained encoder first; None where one is missing."""
    by_knob = {(one.family, one.knob): at(one, leak, utility) for one in here}
    wanted = [(UNTRAINED, ""), *((FREE, knob) for knob in KNOBS[FREE]), (PLAIN, "")]
    found = [point for one in wanted if (point := by_knob.get(one))]
    return found if len(found) == len(wanted) else None


def render(folder: Path) -> tuple[list[Path], list[str]]:
    """Write defences.{md,csv,svg,png} into a folder of audits.

    Args:
        folder: where `rows/CELL/POINT.json` are.

    Returns:
        The files, and a sentence for every guarantee that a bound contradicts.

    Raises:
        InputError: if no audit measured anything.
    """
    audits, refused = read(folder)
    known = [one for one in audits if not one.naive]
    families = [one for one in dict.fromkeys(audit.family for audit in known) if one not in (UNTRAINED, FREE)]
    found = {family: _estimates(known, family) for family in families}
    contradicted = _contradicted(audits)
    text = [
        "![Leak against utility](defences.svg)",
        "\n".join(f"- {sentence(family, estimates[PRIMARY])}" for family, estimates in found.items()),
        _areas_table(found),
        _points_table(known),
        *_epsilon(known, contradicted),
        *_naive(audits),
        *(["Missing above:", "\n".join(f"- {one}" for one in refused)] if refused else []),
    ]
    (folder / "defences.md").write_text("\n\n".join(text) + "\n")
    write_csv([_record(one) for one in audits], folder / "defences.csv")
    lines = {cell: free_line([one for one in known if one.cell == cell], *PRIMARY) for cell in {o.cell for o in known}}
    points: dict[str, list[tuple[Cell, At]]] = {}
    for one in known:
        if one.family in families and (point := at(one, *PRIMARY)):
            name = f"{one.family}, {UNTRAINED}" if one.knob == UNTRAINED else one.family
            points.setdefault(name, []).append((one.cell, point))
    pictures = draw(points, {cell: line for cell, line in lines.items() if line}, folder / "defences")
    return [folder / "defences.md", folder / "defences.csv", *pictures], contradicted


def _estimates(known: Sequence[Audit], family: str) -> dict[tuple[str, str], Estimate | None]:
    pairs = [(leak, utility) for utility in UTILITIES for leak in LEAKS]
    return {pair: over_seeds(areas(known, family, *pair)) for pair in pairs}


def sentence(family: str, found: Estimate | None) -> str:
    """Say what a defence is worth beside training less."""
    if found is None:
        return f"{family}: {verdict(found)}: too few seeds with every length of training."
    less = found.value >= 0
    value, low, high = (found.value, found.low, found.high) if less else (-found.value, -found.high, -found.low)
    return (
        f"{family}: {verdict(found)}: at the same kNN accuracy its worst attack's AUC is "
        f"{interval(value, low, high)} {'below' if less else 'above'} that of training less."
    )


def _interval(found: Estimate | None) -> str:
    return "-" if found is None else f"{found.value:+.3f} [{found.low:+.3f} {found.high:+.3f}]"


def _areas_table(found: Mapping[str, Mapping[tuple[str, str], Estimate | None]]) -> str:
    pairs = [(leak, utility) for utility in UTILITIES for leak in LEAKS]
    header = ("defence", *(f"{LEAKS[leak]} at equal {UTILITIES[utility]}" for leak, utility in pairs), "verdict")
    body = [(family, *(_interval(estimates[pair]) for pair in pairs), verdict(estimates[PRIMARY]))
            for family, estimates in found.items()]  # fmt: skip
    return formats.markdown(header, body, AREAS)


def _points_table(known: Sequence[Audit]) -> str:
    body = []
    for family, knob in dict.fromkeys((one.family, one.knob) for one in known):
        here = [one for one in known if (one.family, one.knob) == (family, knob)]
        cells = len({one.cell[:2] for one in here})
        body.append((family, knob or "-", str(cells), *(_over_cells(here, name) for name in (*LEAKS, *UTILITIES))))
    return formats.markdown(("defence", "knob", "cells", *LEAKS.values(), *UTILITIES.values()), body, CAPTION)


def _over_cells(here: Sequence[Audit], name: str) -> str:
    means = []
    for cell in dict.fromkeys(one.cell[:2] for one in here):
        values = [v for one in here if one.cell[:2] == cell and (v := one.figures[name]) is not None]
        means += [float(np.mean(values))] if values else []
    if not means:
        return "-"
    return f"{number(float(np.mean(means)))} [{number(min(means))} {number(max(means))}]"


def _contradicted(audits: Sequence[Audit]) -> list[str]:
    found = []
    for one in audits:
        low, claimed = one.figures["eps_low"], one.figures["claimed_epsilon"]
        if low is not None and claimed is not None and low > claimed:
            where = " ".join(map(str, one.cell))
            found.append(f"{one.family} {one.knob} ({where}) guarantees epsilon {claimed:.2f} and its scores "
                         f"contradict an epsilon below {low:.2f}")  # fmt: skip
    return found


def _epsilon(known: Sequence[Audit], contradicted: Sequence[str]) -> list[str]:
    """The table of what is guaranteed beside the bound from below; nothing where no defence guarantees anything."""
    private = [one for one in known if one.figures["claimed_epsilon"] is not None]
    if not private:
        return []
    cell = ("data set", "framework", "seed")
    header = ("defence", "knob", *cell, "guaranteed epsilon", "lower bound", "worst AUC", "kNN")
    body = [(one.family, one.knob, *map(str, one.cell), *(number(one.figures[name]) for name in (
             "claimed_epsilon", "eps_low", *PRIMARY))) for one in private]  # fmt: skip
    said = "; ".join(contradicted) or "no lower bound exceeds what is guaranteed"
    return [formats.markdown(header, body, f"Epsilon, replace-one: {said}")]


def _naive(audits: Sequence[Audit]) -> list[str]:
    """What an attacker finds who does not know of the defence, on the audited encoder alone."""
    body = []
    for one in (one for one in audits if one.naive):
        same = [o for o in audits if not o.naive and (o.family, o.knob, o.cell) == (one.family, one.knob, one.cell)]
        adaptive = same[0].figures["own_auc"] if same else None
        cell = " ".join(map(str, one.cell))
        body.append((one.family, one.knob or "-", cell, number(one.figures["own_auc"]), one.worst, number(adaptive)))
    header = ("defence", "knob", "cell", "AUC, naive", "its worst attack", "AUC, adaptive")
    text = "What an attacker finds whose shadows have no defence (the audited encoder alone), beside one who knows"
    return [formats.markdown(header, body, text)] if body else []


def _record(one: Audit) -> dict[str, Any]:
    dataset, arch, seed = one.cell
    named = {"defence": one.family, "knob": one.knob, "naive": one.naive, "dataset": dataset, "arch": arch}
    return named | {"seed": seed, "worst": one.worst} | dict(one.figures)

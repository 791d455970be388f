"""Leaks of a sweep by attack and layer: figures of all numbers of members and epochs, and the law fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments import _cells as cells
from experiments._power_law import Cell, PowerLaw, power_law
from lpla.contracts.result import InputError
from lpla.metrics.roc import auc
from lpla.metrics.rotation import Rotation, recipe
from lpla.report.rows import Row, word

FPR = 0.01


@dataclass(frozen=True)
class Figure:
    """A measure of a leak to which a law is fitted."""

    name: str
    of: Callable[[Rotation], float | None]
    """Its value over the targets of one audit, less `chance`; None where the targets are too few."""
    chance: float = 0.0
    """Value where there is no leak."""
    most: float = np.inf
    """Value that it cannot exceed."""


@dataclass(frozen=True)
class Line:
    """One attack at one layer: its cells by figure, and how many targets they stand on."""

    name: str
    cells: Mapping[str, Sequence[Cell]]
    targets: int
    invalid: bool
    rows: Sequence[Row]
    """Rows of the sweep, of which it is made."""

    def laws(self) -> dict[str, PowerLaw | str]:
        """The fit of every figure, or the sentence that says why there is none."""
        found: dict[str, PowerLaw | str] = {}
        for figure, some in self.cells.items():
            try:
                found[figure] = power_law(some)
            except InputError as absent:
                found[figure] = str(absent)
        return found


def gap(score: np.ndarray, member: np.ndarray) -> float:
    """Mean score of the members less that of the others, in standard deviations within the two groups."""
    inside, outside = score[member], score[~member]
    squares = inside.var() * len(inside) + outside.var() * len(outside)
    within = np.sqrt(squares / (len(score) - 2))
    return float((inside.mean() - outside.mean()) / within) if within else 0.0


def mean_area(rotation: Rotation) -> float:
    """AUC - 0.5, the mean over the targets in turn."""
    targets = zip(rotation.score, rotation.member, strict=True)
    return float(np.mean([auc(score, member).value - 0.5 for score, member in targets]))


def mean_gap(rotation: Rotation) -> float:
    """The gap, the mean over the targets in turn."""
    return float(np.mean([gap(*one) for one in zip(rotation.score, rotation.member, strict=True)]))


def rate_above_chance(rotation: Rotation) -> float | None:
    """The true-positive rate at 1 % FPR by one threshold for all targets, less 1 %; None where they are too few."""
    found = recipe([rotation]).tpr_at_1pct
    return None if found is None else found.value - FPR


AUC = Figure("AUC - 0.5", mean_area, 0.5, 1.0)
GAP = Figure("gap", mean_gap)
RATE = Figure("TPR at 1 % FPR - 0.01", rate_above_chance, FPR, 1.0)


def lines_of(rows: Sequence[Row], folder: Path, figures: Mapping[str, Figure]) -> list[Line]:
    """Group the measured rows of a sweep's `folder` by attack and layer, and take `figures` of every cell.

    Args:
        rows: of the sweep, measured.
        folder: of the sweep, where the jobs left their scores.
        figures: by the name that they have in `Line.cells`.

    Returns:
        A line for each attack and layer, in the order of the rows.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['attack']}, {row['layer']}", []).append(row)
    lines = []
    for name, some in groups.items():
        found = {figure: list[Cell]() for figure in figures}
        targets = 0
        for row in some:
            if (rotation := cells.rotation_of(row, folder)) is not None:
                targets += len(rotation.score)
                for figure, one in figures.items():
                    if (value := one.of(rotation)) is not None:
                        found[figure].append(Cell(row["seed"], row["members"], row["epochs"], value))
        invalid = any(word(row) == "invalid" for row in some)
        lines.append(Line(name, found, targets, invalid, some))
    return lines

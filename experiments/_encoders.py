"""The encoders of a sweep as points: what each is worth and what it leaks, at its end and along its training."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from experiments._cells import by_contender, measured, require_measured
from lpla.contracts.result import InputError, columns
from lpla.report.rows import Row, cell, choices

FREE = ("arch", "backbone", "epochs", "seed", "layer", "likelihood")
"""What encoders may differ in under one attack; all else is fixed, or leakage would differ for another reason."""
ACCURACIES = ("knn_accuracy", "linear_accuracy")


@dataclass(frozen=True)
class Encoder:
    """One layer of one encoder, after `epoch` of `epochs`, under one attack."""

    attack: str
    """The attack's name, or that of the contender where the sweep has several forms of it."""
    arch: str
    backbone: str
    seed: int
    layer: str
    epochs: int
    epoch: int
    figures: dict[str, float | None]
    """The leaks and ACCURACIES, and `<name>_low`, `<name>_high`, their 95 % intervals."""

    @property
    def family(self) -> tuple[str, str, int]:
        """Encoders that share their first weights and their images."""
        return self.arch, self.backbone, self.seed

    def record(self, kind: str) -> dict[str, Any]:
        """A flat row."""
        fixed = {name: value for name, value in vars(self).items() if name != "figures"}
        return {"kind": kind} | fixed | self.figures


def encoders(rows: Sequence[Row], folder: Path) -> list[Encoder]:
    """Return all encoders at their end, once for each attack.

    Raises InputError if there is none or if those of one attack differ in more than FREE.
    """
    found = by_contender(require_measured(rows, folder), folder)
    for attack in dict.fromkeys(row["attack"] for row in found):
        for choice in choices():
            values = dict.fromkeys(cell(row.get(choice)) for row in found if row["attack"] == attack)
            if choice not in FREE and len(values) > 1:
                raise InputError(
                    f"{choice} must be one for all encoders of a trade-off, got {' and '.join(values)} ({attack})"
                )
    return [_encoder(row, row, row["epochs"]) for row in found]


def checkpoints(rows: Sequence[Row], folder: Path) -> list[Encoder]:
    """Return all encoders before their end, where the sweep observed that (`observe.every`)."""
    found = []
    jobs = {row["job"]: row for row in by_contender(measured(rows), folder)}
    for job, row in jobs.items():
        if (file := folder / job / "curve.csv").exists():
            with file.open(newline="") as lines:
                found += [_encoder(row, one, int(one["epoch"])) for one in csv.DictReader(lines)]
    return found


def _encoder(job: Row, row: Row, epoch: int) -> Encoder:
    figures: dict[str, float | None] = {}
    for name in (name for name, one in columns("figure").items() if one.interval):
        figures |= {f"{name}{end}": _number(row.get(f"{name}{end}")) for end in ("", "_low", "_high")}
    for name in ACCURACIES:
        figures |= _accuracy(name, _number(row.get(name)), _number(row.get("utility_images")))
    choices = (job["attack"], job["arch"], job["backbone"], job["seed"], row["layer"], job["epochs"], epoch)
    return Encoder(*choices, figures)


def _number(value: object) -> float | None:
    return None if value in (None, "") else float(str(value))


def _accuracy(name: str, value: float | None, images: float | None) -> dict[str, float | None]:
    """With its interval by Clopper and Pearson: half of the images were classified."""
    if value is None or images is None:
        return {name: value, f"{name}_low": None, f"{name}_high": None}
    classified = int(images) - int(images) // 2
    bounds = binomtest(round(value * classified), classified).proportion_ci()
    return {name: value, f"{name}_low": bounds.low, f"{name}_high": bounds.high}

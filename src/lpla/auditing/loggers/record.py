"""What a job tells its logger, as plain data: the training of its encoders and the figures of its audit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lpla.auditing.judge import Judgement
from lpla.auditing.plan import Plan
from lpla.auditing.queried import log_norms
from lpla.contracts.result import AuditResult, columns
from lpla.store.artifacts import Store, key_of
from lpla.work.recipe import Unit
from lpla.work.trained import Trained

ROC_POINTS = 200

Steps = Iterator[tuple[int, dict[str, float]]]
"""(epoch, figures by name)."""


@dataclass(frozen=True)
class Training:
    """One encoder as the store has it."""

    name: str
    key: str
    place: Path
    loss: list[float]
    seconds: float


@dataclass(frozen=True)
class Layer:
    """The audit of one layer by one attack, image by image."""

    name: str
    """The layer; of a job of several attacks, with the attack before it."""
    row: AuditResult
    index: Int[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    score: Float[np.ndarray, " n"]
    posterior: Float[np.ndarray, " n"]
    norm: Float[np.ndarray, " n"] | None
    """Norm of the clean image, at the audit's p; None where no norms were kept."""

    @property
    def roc(self) -> Float[np.ndarray, "m 2"]:
        """False- and true-positive rates from the first false positive on, evenly spread on a log axis; may be empty.

        All rates where they are at most ROC_POINTS.
        """
        from sklearn.metrics import roc_curve

        if np.isnan(self.score).any():
            return np.empty((0, 2))
        rates = np.stack(roc_curve(self.member, self.score)[:2], axis=1)
        # A rate of 0 has no place on a log axis.
        rates = rates[rates[:, 0] > 0]
        spread = np.geomspace(1, len(rates), ROC_POINTS).round().astype(int) - 1
        return rates[np.unique(spread)] if len(rates) > ROC_POINTS else rates


@dataclass(frozen=True)
class Job:
    """Where a job's own files lie, and the sweep it is part of (or itself)."""

    folder: Path
    group: str

    @property
    def name(self) -> str:
        """Its number in the sweep, or the time at which it began."""
        return self.folder.name


@dataclass(frozen=True)
class Record:
    """One job and what it found."""

    job: Job
    settings: Mapping[str, Any]
    trainings: Sequence[Training]
    layers: Sequence[Layer]
    curve: Sequence[Mapping[str, Any]]
    """Leak and utility after earlier epochs, a row by epoch and layer."""

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The choices by their names, all settings below them, and the revision of the code."""
        row = asdict(self.layers[0].row)
        names = [name for name, one in columns("choice").items() if one.whose != "fit"]
        if len({one.row.attack for one in self.layers}) > 1:
            row |= {"attack": "all", "norms": ""}
        return {name: row[name] for name in (*names, "git_revision")} | {
            "arch_and_p": f"{row['arch']}, p={row['p']}",
            "settings": dict(self.settings),
        }

    def steps(self, kind: str) -> Steps:
        """Figures by epoch: of `train` the loss of every encoder; of `audit` those of every layer, the audit's last."""
        return self._losses() if kind == "train" else self._leaks()

    def _losses(self) -> Steps:
        for epoch in range(1, max((len(one.loss) for one in self.trainings), default=0) + 1):
            yield epoch, {f"loss/{t.name}": t.loss[epoch - 1] for t in self.trainings if epoch <= len(t.loss)}

    def _leaks(self) -> Steps:
        names = {(one.row.attack, one.row.layer): one.name for one in self.layers}
        for epoch in sorted({row["epoch"] for row in self.curve}):
            rows = [row for row in self.curve if row["epoch"] == epoch]
            found = [_figures(names[key], row) for row in rows if (key := (row["attack"], row["layer"])) in names]
            yield epoch, {name: value for figures in found for name, value in figures.items()}
        last = [_figures(one.name, asdict(one.row)) for one in self.layers]
        yield self.layers[0].row.epochs or 0, {name: value for found in last for name, value in found.items()}


def _figures(layer: str, row: Mapping[str, Any]) -> dict[str, float]:
    found = ((name, row.get(name)) for name in columns("figure", "bound", "utility", "null", "cost", "count"))
    return {f"{layer}/{name}": float(value) for name, value in found if isinstance(value, int | float)}


def recorded(
    plan: Plan,
    store: Store,
    found: Sequence[Judgement],
    curve: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    job: Job,
) -> Record:
    """A judged audit with the training records of its encoders and the norms of its images, both from the store.

    Args:
        plan: The audit.
        store: Where encoders and statistics are kept.
        found: The attacks and their rows.
        curve: Leak and utility over training.
        settings: The audit's settings.
        job: The job's folder.

    Returns:
        What loggers write.
    """
    several = len({one.row.attack for one in found}) > 1
    layers = [
        Layer(
            f"{one.row.attack}/{one.row.layer}" if several else one.row.layer,
            one.row,
            plan.judged_index,
            plan.member,
            one.score,
            one.posterior,
            _norms(plan, store, one.row.layer),
        )
        for one in found
    ]
    return Record(
        job,
        settings,
        [_training(unit, store) for unit in plan.units if isinstance(unit.source, Trained)],
        layers,
        curve,
    )


def _training(unit: Unit, store: Store) -> Training:
    key = key_of(unit.encoder_parts)
    place = store.path("encoders", key)
    record = json.loads((place / "training.json").read_text())
    return Training(unit.name.replace(" ", "_"), key, place, record["loss"], record["seconds"])


def _norms(plan: Plan, store: Store, layer: str) -> Float[np.ndarray, " n"] | None:
    """Power-mean p-norm of the target's embedding of every judged image, clean; None where no norms were kept."""
    found = log_norms(plan.encoders.target, store, layer, float(plan.choices["p"]))
    return None if found is None else np.exp(found[plan.judged, 0])

"""The verdict on one layer: fit the attack on the shadows, score the target, and put the nulls beside the leak."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lpla import evaluate
from lpla.contracts import Attack, Labelled, Seen
from lpla.plan import Plan
from lpla.recipe import Config, Unit, plug_in
from lpla.result import AuditResult
from lpla.store import Store
from lpla.unit import load_observed

Scores = Float[np.ndarray, " n"]


def judge(plan: Plan, store: Store, layer: str, run: dict[str, Any]) -> tuple[AuditResult, Scores]:
    """One row and the candidates' scores; `run` carries what only the job knows (git revision, seconds)."""
    target, *shadows = (_seen(plan, store, unit, layer) for unit in plan.units)
    inside, candidates = plan.membership.inside, plan.membership.candidates
    member = inside[0, candidates]
    attack = _fit(plan, shadows, inside[1:])
    score = attack.score(target)[candidates]
    untrained = attack.score(_seen(plan, store, plan.untrained, layer))[candidates]
    fields = plan.choices | run | _leak(score, member, attack.threshold_) | _utility(plan, store, layer)
    fields |= {
        "layer": layer,
        "likelihood": str(attack.notes().get("likelihood", "")),
        "null_untrained_auc": evaluate.auc(untrained, member).value,
        "null_permuted_auc": _permuted(plan, target, shadows),
        "blind_auc": evaluate.pixel_norm_auc(_pixels(plan), member).value,
    }
    row = AuditResult(**fields, **_cost(plan, store, layer))
    return replace(row, notes=_notes(row, attack)), score


def _leak(score: Scores, member: Bool[np.ndarray, " n"], threshold: float) -> dict[str, Any]:
    auc = evaluate.auc(score, member)
    fields: dict[str, Any] = {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high}
    for name, fpr in {"tpr_at_5pct": 0.05, "tpr_at_1pct": 0.01, "tpr_at_0_1pct": 0.001}.items():
        rate = evaluate.tpr_at(score, member, fpr)
        fields |= {name: rate and rate.value, f"{name}_low": rate and rate.low, f"{name}_high": rate and rate.high}
    return fields | {
        "balanced_accuracy": evaluate.balanced_accuracy(score, member, threshold),
        "members": int(member.sum()),
        "nonmembers": int((~member).sum()),
    }


def _cost(plan: Plan, store: Store, layer: str) -> dict[str, Any]:
    observed = load_observed(plan.units[0], store, plan.observation, layer)
    return {
        # Every view counts, references included; views beyond the budget were made but are not looked at.
        "target_queries": len(plan.observation.index) * plan.queries,
        "shadow_image_epochs": sum(len(unit.members) * unit.regime.epochs for unit in plan.units[1:]),
        "zero_embeddings": observed.zero,
        "nonfinite_embeddings": observed.nonfinite,
        "utility_images": len(plan.labelled),
        "duplicate_groups": plan.membership.duplicate_groups,
        "duplicates_aside": len(plan.membership.aside),
    }


def _pixels(plan: Plan) -> UInt8[np.ndarray, "n C H W"]:
    return plan.images.pixels.numpy()[plan.membership.index[plan.membership.candidates]]


def _seen(plan: Plan, store: Store, unit: Unit, layer: str) -> Seen:
    values = load_observed(unit, store, plan.observation, layer).values
    prefixes = {s.name: s.prefix(values[s.name], plan.queries) for s in plug_in(plan.attack).statistics()}
    return Seen(plan.membership.index, prefixes)


def _fit(plan: Plan, shadows: list[Seen], inside: Bool[np.ndarray, "K N"]) -> Attack:
    labelled = [Labelled(s.index, s.values, member) for s, member in zip(shadows, inside, strict=True)]
    return plug_in(plan.attack).fit(labelled)


def _permuted(plan: Plan, target: Seen, shadows: list[Seen]) -> float:
    """Mean AUC over refits in which every image carries another image's memberships."""
    candidates = plan.membership.candidates
    found = []
    for seed in range(plan.permutations):
        inside = evaluate.permuted(plan.membership.inside, candidates, seed)
        score = _fit(plan, shadows, inside[1:]).score(target)[candidates]
        found.append(evaluate.auc(score, inside[0, candidates]).value)
    return float(np.mean(found))


def _utility(plan: Plan, store: Store, layer: str) -> dict[str, float | None]:
    """kNN and linear accuracy on labelled images outside the pool: half are the bank, half are classified."""
    half = len(plan.labelled) // 2
    labels = plan.images.labels.numpy()[plan.labelled]
    if half == 0 or len(np.unique(labels[:half])) < 2:
        return {"knn_accuracy": None, "linear_accuracy": None}
    target, observation = plan.units[0], plan.utility_observation
    parts: Config = {
        "embeddings": target.statistic_parts(observation, observation.statistics[0]),
        "labels": labels.tolist(),
        "layer": layer,
        "k": plan.k,
        "version": evaluate.UTILITY_VERSION,
    }
    with store.lock("utility", parts):
        place = store.find("utility", parts)
        if place is None:
            values = load_observed(target, store, observation, layer).values["clean"]
            sides = values[:half], labels[:half], values[half:], labels[half:]
            accuracy = {
                "knn_accuracy": evaluate.knn_accuracy(*sides, k=plan.k),
                "linear_accuracy": evaluate.linear_accuracy(*sides),
            }
            place = store.put("utility", parts, lambda folder: _write(folder / "accuracy.json", accuracy))
    return json.loads((place / "accuracy.json").read_text())


def _write(path: Path, content: Config) -> None:
    path.write_text(json.dumps(content))


def _notes(row: AuditResult, attack: Attack) -> tuple[str, ...]:
    """Sentences on what a reader of this row must know."""
    notes = [evaluate.tpr_absent(fpr, row.nonmembers) for fpr in (0.05, 0.01, 0.001)]
    # Standard error of an AUC without signal, for groups of m and n images.
    error = float(np.sqrt((row.members + row.nonmembers + 1) / (12 * row.members * row.nonmembers)))
    for name, value in {"untrained encoder": row.null_untrained_auc, "blind pixel norm": row.blind_auc}.items():
        if abs(value - 0.5) > 3 * error:
            where = f"{row.arch}, {row.layer}, p={row.p}, seed={row.seed}"
            notes.append(f"distrust {where}: the null of the {name} is {value:.3f}, not 0.5 +- {3 * error:.3f}")
    if row.duplicate_groups is None:
        notes.append(f"near-duplicates in {row.dataset} were not looked for: members and non-members may be the same")
    elif row.duplicate_groups:
        groups = f"{row.duplicate_groups} groups of near-duplicates in {row.dataset}"
        notes.append(f"{groups}: one image of each was kept, {row.duplicates_aside} were set aside")
    if row.knn_accuracy is None:
        notes.append(f"utility needs labelled images of 2 classes outside the pool, got {row.utility_images} images")
    if row.zero_embeddings or row.nonfinite_embeddings:
        counts = f"{row.zero_embeddings} zero and {row.nonfinite_embeddings} non-finite"
        notes.append(f"{row.layer} of the target: {counts} embeddings, scored as uninformative")
    notes += [f"{row.layer}: {sentence}" for sentence in attack.remarks()]
    return tuple(note for note in notes if note)

"""The verdict on one layer: fit the attack on the shadows, score the target, and put the nulls beside the leak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lpla import evaluate, nulls
from lpla.evidence import Attack, Labelled, Seen
from lpla.plan import Plan
from lpla.recipe import Unit, plug_in
from lpla.result import AuditResult
from lpla.store import Store
from lpla.unit import load_observed
from lpla.utility import COLLAPSED, measure_utility

Scores = Float[np.ndarray, " n"]


def judge(plan: Plan, store: Store, layer: str, run: dict[str, Any]) -> tuple[AuditResult, Scores]:
    """One row and the candidates' scores; `run` carries what only the job knows (git revision, seconds)."""
    target, *shadows = (_seen(plan, store, unit, layer) for unit in plan.units)
    candidates = plan.membership.candidates
    member = plan.membership.inside[0, candidates]
    attack = _fit(plan, shadows, plan.membership.inside[1:])
    score = attack.score(target)[candidates]
    untrained = attack.score(_seen(plan, store, plan.untrained, layer))[candidates]
    fields = plan.choices | run | _leak(score, member, attack.threshold_) | measure_utility(plan, store, layer)
    fields |= {
        "layer": layer,
        "likelihood": str(attack.notes().get("likelihood", "")),
        "null_untrained_auc": evaluate.auc(untrained, member).value,
        "null_permuted_auc": _permuted(plan, target, shadows),
        "blind_auc": nulls.blind(_pixels(plan), member).auc,
    }
    row = AuditResult(**fields, **_cost(plan, store, layer))
    return replace(row, notes=_notes(row, attack)), score


def judge_epoch(plan: Plan, store: Store, layer: str, epoch: int) -> dict[str, Any]:
    """One row of the curve: leak and utility of the encoders as they were after `epoch`, attacked by their likes."""
    target, *shadows = (_seen(plan, store, unit, layer, epoch) for unit in plan.units)
    candidates = plan.membership.candidates
    attack = _fit(plan, shadows, plan.membership.inside[1:])
    member = plan.membership.inside[0, candidates]
    leak = _leak(attack.score(target)[candidates], member, attack.threshold_)
    return {"epoch": epoch, "layer": layer} | leak | measure_utility(plan, store, layer, epoch)


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
    observed = load_observed(plan.units[0], store, plan.pool, layer)
    return {
        # Every view counts, references included; views beyond the budget were made but are not looked at.
        "target_queries": len(plan.pool.index) * plan.queries,
        "shadow_image_epochs": sum(len(unit.members) * unit.regime.epochs for unit in plan.units[1:]),
        "zero_embeddings": observed.zero,
        "nonfinite_embeddings": observed.nonfinite,
        "duplicate_groups": plan.membership.duplicate_groups,
        "duplicates_aside": len(plan.membership.aside),
    }


def _pixels(plan: Plan) -> UInt8[np.ndarray, "n C H W"]:
    return plan.images.pixels.numpy()[plan.membership.index[plan.membership.candidates]]


def _seen(plan: Plan, store: Store, unit: Unit, layer: str, epoch: int | None = None) -> Seen:
    values = load_observed(unit, store, replace(plan.pool, epoch=epoch), layer).values
    prefixes = {s.name: s.prefix(values[s.name], plan.queries) for s in plug_in(plan.attack).statistics()}
    return Seen(plan.membership.index, prefixes)


def _fit(plan: Plan, shadows: list[Seen], inside: Bool[np.ndarray, "K N"]) -> Attack:
    labelled = [Labelled(s.index, s.values, member) for s, member in zip(shadows, inside, strict=True)]
    return plug_in(plan.attack).fit(labelled)


def _permuted(plan: Plan, target: Seen, shadows: list[Seen]) -> float:
    """Mean AUC over refits in which every image carries another image's memberships."""
    candidates = plan.membership.candidates
    found = []
    for permutation in range(plan.permutations):
        seed = [plan.choices["seed"], permutation]
        inside = nulls.permuted(plan.membership.inside, candidates, seed)
        score = _fit(plan, shadows, inside[1:]).score(target)[candidates]
        found.append(evaluate.auc(score, inside[0, candidates]).value)
    return float(np.mean(found))


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
        needs = "labelled images of 2 classes outside the pool and finite embeddings"
        notes.append(f"utility needs {needs}, got {row.utility_images} labelled images")
    if row.embedding_spread is not None and row.embedding_spread < COLLAPSED:
        where = f"{row.arch}, {row.layer}, seed={row.seed}"
        notes.append(
            f"{where}: collapsed, embedding spread {row.embedding_spread:.4f} < {COLLAPSED}; its norms say little"
        )
    if row.zero_embeddings or row.nonfinite_embeddings:
        counts = f"{row.zero_embeddings} zero and {row.nonfinite_embeddings} non-finite"
        notes.append(f"{row.layer} of the target: {counts} embeddings, scored as uninformative")
    notes += [f"{row.layer}: {sentence}" for sentence in attack.remarks()]
    return tuple(note for note in notes if note)

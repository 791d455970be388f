"""The verdict on one layer: let the attack learn, score the target, and put the nulls beside the leak."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.defended import claim
from lpla.auditing.named import named_at, with_statements
from lpla.auditing.notes import left_over, notes
from lpla.auditing.nulls import NullsOfData, NullsOfRow, nulls_of
from lpla.auditing.plan import Plan
from lpla.auditing.queried import count_unusable, mean_log_norm, queries_of, usable_images
from lpla.auditing.rotation import with_recipe
from lpla.auditing.utility import measure_utility
from lpla.contracts.evidence import Attack
from lpla.contracts.inputs import UndefinedError
from lpla.contracts.result import AuditResult
from lpla.metrics import roc as evaluate
from lpla.metrics.calls import balanced_accuracy, precision
from lpla.metrics.posterior import posterior
from lpla.metrics.rotation import Rotation
from lpla.metrics.significance import leak_test
from lpla.metrics.verdict import verdict
from lpla.store import provenance
from lpla.store.artifacts import Store
from lpla.work.plug_in import plug_in
from lpla.work.unit import provenances, trained

Scores = Float[np.ndarray, " n"]
Member = Bool[np.ndarray, " n"]
RATES = {"5pct": 0.05, "1pct": 0.01, "0_1pct": 0.001}


@dataclass(frozen=True)
class Judgement:
    """What is said of one layer, and the probabilities behind it, image by image."""

    row: AuditResult
    score: Scores
    posterior: Scores
    log_norm: Scores
    """Mean over the views that are used; nan if norms were not observed."""
    rotation: Rotation | None = None
    """Scores of every encoder as the target, where each was."""
    named: Member | None = None
    """Whether each image is named by the threshold that the shadows set; None where the attack does not exist."""


def judge(plan: Plan, store: Store, layer: str, run: dict[str, Any], data: NullsOfData | None = None) -> Judgement:
    """Judge one layer by one attack: a row, and scores of the judged images.

    An attack that does not exist under these settings has an empty row that says why, and nan for scores.

    Args:
        plan: the audit by one attack.
        store: where its artifacts are.
        layer: whose row it is.
        run: fields of the row that only the job knows.
        data: the nulls that all rows of a job share, where they are there already.

    Returns:
        The row.
    """
    claimed, guarantee = claim(plan.encoders.target.unit)
    fixed: dict[str, Any] = plan.choices | run | {"layer": layer, "claimed_epsilon": claimed}
    fixed |= measure_utility(plan, store, layer) | _cost(plan, store, layer) | _origin(plan, store)
    log_norm = mean_log_norm(plan.encoders.target, store, layer, plan.choices["p"], plan.queries)[plan.judged]
    try:
        trial = AttackRun(plan, store, layer)
        attack = trial.fit()
        score = trial.score(attack)
    except UndefinedError as undefined:
        nothing = np.full(int(plan.judged.sum()), np.nan)
        needed = plan.lacking(plug_in(plan.attack))
        why = f"attack={plan.choices['attack']}, {layer}: {undefined}" + (f"; {needed}" if needed else "")
        row = AuditResult(**fixed, verdict=f"undecided: {why}", notes=(why, *left_over(plan)))
        return Judgement(row, nothing, nothing, log_norm)
    member = plan.member
    found: dict[str, Any] = _leak(score, plan, attack.threshold_)
    row = AuditResult(**fixed, **found, likelihood=str(attack.fit_summary().get("likelihood", "")))
    nulls = nulls_of(plan, store, trial, attack, data)
    row = _with_verdict(row, score, plan, nulls)
    row = replace(row, notes=notes(row, attack, plan) + nulls.notes + _mixture(plan, store, layer) + guarantee)
    known = trial.known_scores(attack)
    row, rotation = with_recipe(with_statements(row, score, nulls.untrained, known, member), trial)
    named = named_at(score, known, row.compared)
    return Judgement(row, score, _posterior(trial, attack, score), log_norm, rotation, named)


def _posterior(trial: AttackRun, attack: Attack, score: Scores) -> Scores:
    """Probability of membership, image by image; nan where there is nothing to calibrate the score by."""
    if attack.shadow_scores_ is None and not attack.scores_log_ratio():
        return np.full(len(score), np.nan)
    return posterior(score, attack.shadow_scores_, trial.plan.prior, usable_images(trial.target)[trial.plan.judged])


def judge_epoch(plan: Plan, store: Store, layer: str, epoch: int) -> dict[str, Any]:
    """One row of the curve: leak and utility of the encoders as they were after `epoch`, target and shadows alike.

    Args:
        plan: The audit.
        store: Where encoders and statistics are kept.
        layer: The layer that is attacked.
        epoch: How many epochs the encoders had been trained for.

    Returns:
        Figure -> its value.
    """
    found = {"epoch": epoch, "attack": plan.choices["attack"], "layer": layer} | measure_utility(
        plan, store, layer, epoch
    )
    try:
        trial = AttackRun(plan, store, layer, epoch)
        attack = trial.fit()
        score = trial.score(attack)
    except UndefinedError:
        return found
    return found | _leak(score, plan, attack.threshold_)


def _leak(score: Scores, plan: Plan, threshold: float) -> dict[str, Any]:
    member = plan.member
    auc = evaluate.auc(score, member, plan.knowledge.spread)
    fields: dict[str, Any] = {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high}
    for name, fpr in RATES.items():
        rate = evaluate.tpr_at(score, member, fpr)
        fields |= {f"tpr_at_{name}": rate and rate.value, f"fpr_at_{name}": rate and rate.realised_fpr}
        fields |= {f"tpr_at_{name}_low": rate and rate.low, f"tpr_at_{name}_high": rate and rate.high}
    for name, figure in (("balanced_accuracy", balanced_accuracy), ("precision", precision)):
        found = figure(score, member, threshold)
        fields |= {
            name: found and found.value,
            f"{name}_low": found and found.low,
            f"{name}_high": found and found.high,
        }
    return fields


def _with_verdict(row: AuditResult, score: Scores, plan: Plan, found: NullsOfRow) -> AuditResult:
    """The row with what must come out at 0.5 where nothing but membership is told, and the verdict of both."""
    member, spread = plan.member, plan.knowledge.spread
    tested = leak_test(score, member, spread)
    p_values = {} if tested.undecided else {"leak_p": tested.p, "p_rank": tested.p_rank, "p_tail": tested.p_tail}
    return replace(row, **p_values, **found.fields, verdict=verdict(score, member, found.nulls, spread))


def _cost(plan: Plan, store: Store, layer: str) -> dict[str, Any]:
    per_image = queries_of(plug_in(plan.attack), plan.full_query, plan.queries, plan.images.pixels.shape[-1])
    known = plan.encoders.known
    asked_about = len(plan.membership.index) + (len(known.index) if known else 0)
    zero, nonfinite = count_unusable(plan.encoders.target, store, plan.looked_at(layer))
    return {
        "members": int(plan.member.sum()),
        "nonmembers": int((~plan.member).sum()),
        # Every view counts, references included; views beyond the budget were made but are not used.
        "target_queries": asked_about * per_image,
        "exposure": plan.encoders.target.unit.source.exposure(),
        "shadow_image_epochs": sum(one.image_epochs() for one in trained([s.unit for s in plan.encoders.shadows])),
        "zero_embeddings": zero,
        "nonfinite_embeddings": nonfinite,
        "duplicate_groups": plan.membership.duplicate_groups,
        "duplicates_aside": len(plan.membership.aside),
    }


def _origin(plan: Plan, store: Store) -> dict[str, str]:
    """What trained the target; nothing is known of one that was trained elsewhere."""
    trained = plan.encoders.target.unit.source.trained_as(store)
    if trained is None:
        return {}
    return {"trained_revision": trained["git_revision"], "trained_on": provenance.trained_on(trained)}


def _mixture(plan: Plan, store: Store, layer: str) -> tuple[str, ...]:
    """A note if not all artifacts behind the row were computed alike."""
    units = (*plan.units, *(one.unit for one in plan.encoders.nulls))
    sentence = provenance.mixed([one for unit in units for one in provenances(unit, store)])
    return (f"{layer}: {sentence}",) if sentence else ()

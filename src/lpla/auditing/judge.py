"""The verdict on one layer: let the attack learn, score the target, and put the nulls beside the leak."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.notes import notes
from lpla.auditing.plan import Plan
from lpla.auditing.queried import count_unusable, mean_log_norm, queries_of, usable_images
from lpla.auditing.rotation import with_recipe
from lpla.auditing.utility import measure_utility
from lpla.contracts.evidence import Attack, Query
from lpla.contracts.inputs import Images, UndefinedError
from lpla.contracts.result import AuditResult
from lpla.contracts.streams import stream
from lpla.data.pixels import SUMMARIES, summaries
from lpla.extraction.query import query_views
from lpla.metrics import roc as evaluate
from lpla.metrics.nulls import BlindResult, farthest, nonmember_auc, parity_auc, view_summaries
from lpla.metrics.posterior import posterior
from lpla.metrics.rotation import Rotation
from lpla.metrics.significance import leak_test
from lpla.metrics.verdict import Nulls, verdict
from lpla.store import provenance
from lpla.store.artifacts import Store
from lpla.work.plug_in import plug_in
from lpla.work.unit import provenances

Scores = Float[np.ndarray, " n"]
Member = Bool[np.ndarray, " n"]
RATES = {"5pct": 0.05, "1pct": 0.01, "0_1pct": 0.001}
PARITY_IMAGES, PARITY_VIEWS = 2000, 5
"""Judged images, and views of each, at most, that the check of equal transforms makes again to look at them."""


@dataclass(frozen=True)
class Judgement:
    """What is said of one layer, and the probabilities behind it, image by image."""

    row: AuditResult
    score: Scores
    posterior: Scores
    log_norm: Scores
    """Mean over the views that are looked at; nan if norms were not observed."""
    rotation: Rotation | None = None
    """Scores of every encoder as the target, where each was."""


def judge(plan: Plan, store: Store, layer: str, run: dict[str, Any]) -> Judgement:
    """One row, and scores of the judged images; `run` carries what only the job knows.

    An attack that does not exist under these settings has an empty row that says why, and nan for scores.
    """
    fixed: dict[str, Any] = plan.choices | run | {"layer": layer}
    fixed |= measure_utility(plan, store, layer) | _cost(plan, store, layer) | _origin(plan, store)
    log_norm = mean_log_norm(plan.encoders.target, store, layer, plan.choices["p"], plan.queries)[plan.judged]
    try:
        trial = AttackRun(plan, store, layer)
        attack = trial.fit()
        score = trial.score(attack)
    except UndefinedError as undefined:
        nothing = np.full(int(plan.judged.sum()), np.nan)
        row = AuditResult(**fixed, notes=(f"attack={plan.choices['attack']}, {layer}: {undefined}",))
        return Judgement(row, nothing, nothing, log_norm)
    member = plan.member
    found: dict[str, Any] = _leak(score, member, attack.threshold_)
    row = AuditResult(**fixed, **found, likelihood=str(attack.fit_summary().get("likelihood", "")))
    row = _with_nulls(row, plan, store, trial, attack, score)
    row = replace(row, notes=notes(row, attack, plan) + _mixture(plan, store, layer))
    row, rotation = with_recipe(row, trial)
    return Judgement(row, score, _posterior(trial, attack, score), log_norm, rotation)


def _posterior(trial: AttackRun, attack: Attack, score: Scores) -> Scores:
    """Probability of membership, image by image; nan where there is nothing to calibrate the score by."""
    if attack.shadow_scores_ is None and not attack.scores_log_ratio():
        return np.full(len(score), np.nan)
    return posterior(score, attack.shadow_scores_, trial.plan.prior, usable_images(trial.target)[trial.plan.judged])


def judge_epoch(plan: Plan, store: Store, layer: str, epoch: int) -> dict[str, Any]:
    """One row of the curve: leak and utility of the encoders as they were after `epoch`, attacked by their likes."""
    found = {"epoch": epoch, "layer": layer} | measure_utility(plan, store, layer, epoch)
    try:
        trial = AttackRun(plan, store, layer, epoch)
        attack = trial.fit()
        score = trial.score(attack)
    except UndefinedError:
        return found
    return found | _leak(score, plan.member, attack.threshold_)


def _leak(score: Scores, member: Member, threshold: float) -> dict[str, Any]:
    auc = evaluate.auc(score, member)
    fields: dict[str, Any] = {"auc": auc.value, "auc_low": auc.low, "auc_high": auc.high}
    for name, fpr in RATES.items():
        rate = evaluate.tpr_at(score, member, fpr)
        fields |= {f"tpr_at_{name}": rate and rate.value, f"fpr_at_{name}": rate and rate.realised_fpr}
        fields |= {f"tpr_at_{name}_low": rate and rate.low, f"tpr_at_{name}_high": rate and rate.high}
    for name, figure in (("balanced_accuracy", evaluate.balanced_accuracy), ("precision", evaluate.precision)):
        found = figure(score, member, threshold)
        fields |= {
            name: found and found.value,
            f"{name}_low": found and found.low,
            f"{name}_high": found and found.high,
        }
    return fields


def _with_nulls(
    row: AuditResult, plan: Plan, store: Store, trial: AttackRun, attack: Attack, score: Scores
) -> AuditResult:
    """The row with what must come out at 0.5 where nothing but membership is told, and the verdict of both."""
    member = plan.member
    blank = AttackRun(plan, store, trial.layer, untrained=True)
    # Shadows teach the same whoever the target is; without them the attacker learns from the target at hand.
    untrained = blank.score(attack if plan.knowledge.has_shadows else blank.fit())
    nulls = Nulls(evaluate.auc(untrained, member).value, _blind(plan, member), _parity(plan, member))
    tested = leak_test(score, member)
    p_values = {} if tested.undecided else {"leak_p": tested.p, "p_rank": tested.p_rank, "p_tail": tested.p_tail}
    return replace(
        row,
        **p_values,
        null_untrained_auc=nulls.untrained_auc,
        null_permuted_auc=float(np.mean([_permuted(trial, one) for one in range(plan.permutations)])),
        null_nonmembers_auc=nonmember_auc(score, member, plan.choices["seed"]).value,
        **_named("blind", nulls.blind),
        **_named("null_parity", nulls.parity),
        verdict=verdict(score, member, nulls),
    )


def _named(prefix: str, found: BlindResult | None) -> dict[str, Any]:
    return {f"{prefix}_{name}": value for name, value in asdict(found).items() if name != "distrust"} if found else {}


def _permuted(trial: AttackRun, permutation: int) -> float:
    """AUC of an attack that learnt from, and is judged by, memberships without truth."""
    return evaluate.auc(trial.score(trial.fit(permutation)), trial.member(permutation)).value


def _blind(plan: Plan, member: Member) -> BlindResult:
    """Whether a summary of the images alone tells the groups apart: then the split is broken, whatever leaks."""
    pixels = plan.images.pixels[plan.judged_index].numpy()
    return farthest(summaries(pixels), SUMMARIES, member)


def _parity(plan: Plan, member: Member) -> BlindResult:
    """Whether the views that were sent tell the groups apart without any encoder: they must be made alike."""
    chosen = np.sort(stream("transform check", plan.choices["seed"]).permutation(len(member))[:PARITY_IMAGES])
    index = plan.judged_index[chosen]
    observations = plan.encoders.target.observations
    sent = observations[0].query if observations else plan.full_query
    query = replace(sent, queries=min(sent.queries, PARITY_VIEWS))
    return parity_auc(_sent_summaries(plan.images, tuple(index.tolist()), query), member[chosen])


@lru_cache(maxsize=4)
def _sent_summaries(images: Images, index: tuple[int, ...], query: Query) -> Float[np.ndarray, "N 4"]:
    """Of the views of these images: the same for both layers, and for most jobs of a sweep."""
    found = []
    for part in torch.tensor(index).split(256):
        views = query_views(images.pixels[part], part, query).unflatten(0, (query.queries, -1)).transpose(0, 1)
        found.append(view_summaries(views.numpy()))
    return np.concatenate(found)


def _cost(plan: Plan, store: Store, layer: str) -> dict[str, Any]:
    per_image = queries_of(plug_in(plan.attack), plan.full_query, plan.queries, plan.images.pixels.shape[-1])
    known = plan.encoders.known
    asked_about = len(plan.membership.index) + (len(known.index) if known else 0)
    zero, nonfinite = count_unusable(plan.encoders.target, store, layer)
    return {
        "members": int(plan.member.sum()),
        "nonmembers": int((~plan.member).sum()),
        # Every view counts, references included; views beyond the budget were made but are not looked at.
        "target_queries": asked_about * per_image,
        "shadow_image_epochs": sum(s.unit.source.image_epochs() for s in plan.encoders.shadows),
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
    units = (*plan.units, plan.encoders.untrained.unit)
    sentence = provenance.mixed([one for unit in units for one in provenances(unit, store)])
    return (f"{layer}: {sentence}",) if sentence else ()

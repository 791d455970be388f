"""Sentences on what the reader of a row must know: why a number is absent, what was set aside, which null failed."""

from __future__ import annotations

from lpla.auditing.plan import Plan
from lpla.auditing.service import asked_so_far
from lpla.auditing.utility import COLLAPSED
from lpla.contracts.evidence import Attack
from lpla.contracts.result import JOINT, AuditResult
from lpla.metrics import roc as evaluate
from lpla.work.given import Given
from lpla.work.trained import Trained

UNLIKE = 0.1
"""Part of the target's number of members, above which shadows that have more or fewer are said to be unlike it."""


def notes(row: AuditResult, attack: Attack, plan: Plan) -> tuple[str, ...]:
    """List the notes of the evaluation, of the data, of the encoder and of the attack, in this order.

    Args:
        row: The row.
        attack: The fitted attack.
        plan: The audit.

    Returns:
        The sentences.
    """
    where = f"{row.arch}, {row.layer}, p={row.p}, seed={row.seed}"
    absent = [evaluate.tpr_absent(fpr, row.nonmembers) for fpr in evaluate.NEEDED_NONMEMBERS]
    found = [sentence for sentence in absent if sentence]
    if asked := _asked(plan):
        found.append(asked)
    found += [*_on_images(row, plan), *left_over(plan), *_on_sizes(plan), *_on_encoder(row, where, plan.k)]
    if plan.knowledge.unlike and attack.joins_layers():
        misled = f"taught by {row.knowledge}, unlike the target: weights of many statistics may mislead there"
        found.append(f"attack={row.attack}, {row.layer}: {misled}; log_angle uses one statistic alone")
    found += _on_levels(row, attack, plan)
    if attack.shadow_scores_ is None and not attack.scores_log_ratio():
        found.append(f"attack={row.attack}, {row.layer}: no posterior, as no shadow's score calibrates this attack's")
    return (*found, *(f"{row.layer}: {sentence}" for sentence in attack.warnings()))


def _asked(plan: Plan) -> str:
    """What a service was asked; empty for a target of another kind."""
    source = plan.encoders.target.unit.source
    return asked_so_far(source.target) if isinstance(source, Given) else ""


def _on_levels(row: AuditResult, attack: Attack, plan: Plan) -> list[str]:
    """Who tells each image's own level beside the labels, and what is made of it."""
    told = {"target.shadows": plan.encoders.shadows, "knowledge.reference_levels": plan.knowledge.reference_levels}
    without = " and ".join(name for name, there in told.items() if there)
    if not plan.knowledge.of_one_encoder or not without:
        return []
    tell = "the shadows tell" if plan.encoders.shadows else "the reference tells"
    if plan.encoders.shadows and plan.knowledge.reference_levels:
        tell = "the shadows and the reference tell"
    where = f"attack={row.attack}, {row.layer}: {tell} each image's own level"
    if not attack.takes_levels():
        unused = "which this attack does not use: it learns from the labels alone"
        return [f"{where}, {unused}, as without {without}"]
    if not plan.knowledge.reference_levels:
        return []
    return [f"{where}, which is taken out of the target's answers; the reference is attacked without its own"]


def left_over(plan: Plan) -> list[str]:
    """Sentences on members that fill no whole batch and are left out of an epoch."""
    sources = (unit.source for unit in plan.units)
    return list(dict.fromkeys(said for one in sources if isinstance(one, Trained) and (said := one.left_over())))


def _on_images(row: AuditResult, plan: Plan) -> list[str]:
    images, mixed = plan.images, plan.membership.mixed_groups
    left_out = [images.counts] if images.left_out else []  # Names of files are in the log, and no row's business.
    if row.duplicate_groups is None:
        return [
            *left_out,
            f"near-duplicates in {row.dataset} were not looked for: members and non-members may be the same",
        ]
    if row.duplicate_groups:
        groups = f"{row.duplicate_groups} groups of near-duplicates in {row.dataset}"
        kept = "one image of each was kept"
        kept += f" but for {mixed} with members and non-members, of which none was" if mixed else ""
        return [*left_out, f"{groups}: {kept}, {row.duplicates_aside} were set aside"]
    return left_out


def _on_sizes(plan: Plan) -> list[str]:
    if not plan.knowledge.has_shadows:
        return []
    target, *shadows = plan.membership.inside.sum(axis=1).tolist()
    if max(abs(size - target) for size in shadows) <= UNLIKE * target:
        return []
    sizes = f"{min(shadows)} to {max(shadows)} images each, the target on {target}"
    fewer = min(target, int(plan.membership.candidates.sum()) - target)
    equal = f"members={fewer} takes as many members as non-members, so that all are of one size"
    return [f"shadows are trained on {sizes}: {equal}"]


def _on_encoder(row: AuditResult, where: str, k: int) -> list[str]:
    found = []
    bank = row.utility_images // 2
    if row.knn_accuracy is not None and k >= bank:
        bound = f"utility.k={k} must be below the {bank} images of the bank for kNN to be of neighbours"
        found.append(f"{bound}: each image was compared with all of them, so that its kNN accuracy says little")
    if row.knn_accuracy is None and row.layer != JOINT:
        needs = "labelled images of 2 classes outside the pool and finite embeddings"
        found.append(f"utility needs {needs}, got {row.utility_images} labelled images")
    if row.embedding_spread is not None and row.embedding_spread < COLLAPSED:
        collapsed = f"collapsed, embedding spread {row.embedding_spread:.4f} < {COLLAPSED}; its norms say little"
        found.append(f"{where}: {collapsed}")
    if row.zero_embeddings or row.nonfinite_embeddings:
        counts = f"{row.zero_embeddings} zero and {row.nonfinite_embeddings} non-finite"
        found.append(f"{row.layer} of the target: {counts} embeddings, scored as uninformative")
    return found

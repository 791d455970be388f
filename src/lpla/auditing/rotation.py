"""Every encoder of an audit as the target in turn, judged by the others: the columns of a row that are of the recipe.

An audit trains its encoders alike, so that each of them is as good a target as the audited one. What is judged anew is
all that an attack learns; encoders and statistics are those of the audit.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Bool

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.named import left_out_scores, named_at
from lpla.auditing.queried import label
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.contracts.result import AuditResult
from lpla.contracts.streams import stream
from lpla.metrics.roc import Estimate
from lpla.metrics.rotation import Recipe, Rotation, recipe


def with_recipe(row: AuditResult, trial: AttackRun) -> tuple[AuditResult, Rotation | None]:
    """The row with what all encoders say as targets in turn, and their scores; a note where that does not exist."""
    plan = trial.plan
    if plan.targets == "one":
        return row, None
    try:
        found, judges = rotate(trial, row.compared)
    except InputError as absent:
        note = f"{row.layer}: no figure of the recipe, as not every encoder can be the target in turn: {absent}"
        return replace(row, notes=(*row.notes, note)), None
    together = recipe([found])
    said = f"{together.verdict}, {together.targets} encoders as targets in turn, each judged by {judges} shadows"
    if row.verdict.startswith("invalid"):
        said = "recipe invalid, as the audited encoder's verdict is"
    return replace(row, **_columns(together), recipe_verdict=said), found


def rotate(trial: AttackRun, choices: int = 1) -> tuple[Rotation, str]:
    """Scores of every encoder of a trial as the target, and how many shadows judged each.

    The attack learns anew for every target, from its jury alone; its own membership is not used.

    Args:
        trial: with shadows like the target, which were asked about its candidates.
        choices: rows of the job, of which the attacker keeps the best one; thresholds of named images allow for it.

    Raises:
        UndefinedError: where encoders are not of one recipe, or some were trained on none of the candidates or on all.
        InputError: where a jury is too small for the attack.
    """
    plan = trial.plan
    told = plan.knowledge.describe()
    if told != "shadows":
        raise UndefinedError(f"knowledge must be shadows of the target's own recipe, got {told}")
    seen, subjects = [trial.target, *trial.shadows], [plan.encoders.target, *plan.encoders.shadows]
    inside = np.stack([one.inside for one in subjects])
    member = inside[:, plan.judged]
    if not (member.any(axis=1) & ~member.all(axis=1)).all():
        raise UndefinedError("every encoder must have been trained on some of the candidates, but not on all")
    scores, named, juries = [], [], []
    for target in range(len(seen)):
        judges = jury(member, target, plan.jury, plan.choices["seed"])
        attack = deepcopy(trial.configured).fit([label(seen[one], inside[one]) for one in judges])
        scores.append(attack.score(seen[target])[plan.judged])
        known = left_out_scores(
            attack, trial.configured, [seen[one] for one in judges], list(inside[judges]), plan.judged
        )
        named.append(named_at(scores[-1], known, choices))
        juries.append(len(judges))
    counts = " or ".join(map(str, sorted(set(juries))))
    return Rotation(np.stack(scores), member, plan.judged_index, np.stack(named)), counts


def jury(inside: Bool[np.ndarray, "K N"], target: int, most: int | None, seed: int) -> list[int]:
    """The encoders that judge a target: all others but its complement.

    The complement was trained on exactly the images that the target was not. Who knows it knows the target's members,
    and learns the wrong side from images' own levels: without a leak the mean AUC of 5 encoders is .489 with it.

    Args:
        inside: who was trained on which of the judged images; row 0 is the audited encoder.
        target: a row of it.
        most: how many judge at most: pairs of complements, in their order for the audited encoder and drawn for others,
            then encoders without a complement; None: all.
        seed: of the audit.

    Returns:
        The rows of the encoders that judge this target.
    """
    others = [k for k in range(len(inside)) if k != target and not (inside[k] == ~inside[target]).all()]
    if most is None:
        return others
    pairs, alone, rest = [], [], list(others)
    while rest:
        one = rest.pop(0)
        partner = next((other for other in rest if (inside[other] == ~inside[one]).all()), None)
        if partner is None:
            alone.append(one)
        else:
            rest.remove(partner)
            pairs.append((one, partner))
    if target:
        pairs = [pairs[place] for place in stream("juries", seed, target).permutation(len(pairs))]
    return [*(one for pair in pairs for one in pair), *alone][:most]


def _columns(together: Recipe) -> dict[str, Any]:
    """The columns `recipe_*` of a row."""
    found: dict[str, Any] = {"targets": together.targets}
    found |= {"recipe_leak_p": together.p, "recipe_rank_p": together.p_rank}
    for name in ("auc", "tpr_at_5pct", "tpr_at_1pct"):
        one: Estimate | None = getattr(together, name)
        ends = asdict(one) if one else dict.fromkeys(("value", "low", "high"))
        found |= {f"recipe_{name}": ends["value"]}
        found |= {f"recipe_{name}_{end}": ends[end] for end in ("low", "high")}
    return found

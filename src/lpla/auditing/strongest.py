"""Which of several attacks is the strongest, with a p-value of "no leak" that allows for its choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.judge import Judgement
from lpla.auditing.plan import Plan
from lpla.contracts.inputs import UndefinedError
from lpla.metrics.significance import holm, separation
from lpla.store.artifacts import Store
from lpla.training.signals import check
from lpla.work.plug_in import plug_in

FIRST = "lpla"
"""The attack whose rows stand first."""
DEAR = 20_000
"""Images times encoders above which nothing is refitted for the p-value: each refit of all attacks takes seconds."""


def strongest_first(plan: Plan, store: Store, found: Sequence[Judgement]) -> list[Judgement]:
    """The rows of attack=all: lpla's, those of the strongest, all others by their highest AUC; one has the headline.

    An attack that does not exist at a layer has no row: why is a note of the first row. The strongest is the row whose
    AUC is the farthest above 0.5 in standard errors without a leak.

    Args:
        plan: The audit.
        store: Where encoders and statistics are kept.
        found: The attacks and their rows.

    Returns:
        The rows in their order, the strongest of them marked.
    """
    defined = [one for one in found if one.row.auc is not None]
    if not defined:
        return list(found)
    best = max(defined, key=lambda one: separation(one.score, plan.member))
    highest: dict[str, float] = {}
    for one in defined:
        highest[one.row.attack] = max(highest.get(one.row.attack, -np.inf), one.row.auc or 0.0)

    def place(one: Judgement) -> tuple[bool, bool, float]:
        return one.row.attack != FIRST, one.row.attack != best.row.attack, -highest[one.row.attack]

    p, how = _p_of_choice(plan, store, defined)
    word = best.row.verdict.partition(":")[0]
    said = (
        f"strongest of {len(defined)} rows: {best.row.attack} at {best.row.layer} ({word}), AUC {best.row.auc:.3f} "
        f"[{best.row.auc_low:.3f} {best.row.auc_high:.3f}]"
    ) + ("" if p is None else f'; p-value of "no leak", which allows for the choice: {p:.2g} ({how})')
    told = [replace(one, row=replace(one.row, strongest=said, choice_p=p)) if one is best else one for one in defined]
    first, *others = sorted(told, key=place)
    undefined = tuple(note for one in found if one.row.auc is None for note in one.row.notes)
    return [replace(first, row=replace(first.row, notes=(*plan.left_out, *undefined, *first.row.notes))), *others]


def _p_of_choice(plan: Plan, store: Store, rows: Sequence[Judgement]) -> tuple[float | None, str]:
    """The p-value of "no leak by any row", and what it rests on; None where no row allows a test.

    Holm's correction of the rows' own p-values, and the largest standardised AUC against those of refits under permuted
    columns of M, corrected for being two. A p-value of B refits is 1 / (B + 1) at least, so they are spared where that
    of Holm is no larger; and there are none where an attack takes long to fit, or images and encoders are many.
    """
    own = [one.row.leak_p for one in rows if one.row.leak_p is not None]
    if not own:
        return None, ""
    exact = float(holm(own).min())
    quick = all(plug_in(plan.attacks[one.row.attack]).refits_quickly for one in rows)
    if plan.refits is None or not quick or len(plan.membership.index) * len(plan.units) > DEAR:
        return exact, f"Holm over {len(own)} rows, as refits would take long"
    if exact <= 1 / (plan.refits + 1):
        return min(1.0, 2 * exact), f"Holm over {len(own)} rows, twice, as refits could not have made it smaller"
    by_refits = _max_over_refits(plan, store, rows)
    how = f"twice the smaller of Holm's {exact:.2g} over {len(own)} rows and {by_refits:.2g} by the largest "
    return min(1.0, 2 * min(exact, by_refits)), how + f"standardised AUC in {plan.refits} refits of all"


def _max_over_refits(plan: Plan, store: Store, rows: Sequence[Judgement]) -> float:
    """Part of the audits, this one among them, whose largest standardised AUC is at least this one's."""
    runs = [AttackRun(plan.alone(one.row.attack), store, one.row.layer) for one in rows]
    truth = max(separation(one.score, plan.member) for one in rows)
    chance = []
    for one in range(plan.refits or 0):
        check()
        chance.append(max(_refitted(run, one) for run in runs))
    return (1 + sum(one >= truth for one in chance)) / (1 + len(chance))


def _refitted(run: AttackRun, permutation: int) -> float:
    """The standardised AUC under a permuted membership; one that cannot be learnt from counts as the largest of all."""
    try:
        score = run.score(run.fit(permutation))
    except UndefinedError:
        return np.inf
    return separation(score, run.member(permutation))

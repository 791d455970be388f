"""Which images an attack names as members, and what that and the bound on epsilon add to a row.

A threshold is learnt on encoders whose members the attacker knows, each scored by an attack that did not learn from it:
no label of the target reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.leave_one_out import judges
from lpla.auditing.queried import label
from lpla.contracts.evidence import Attack, Seen, ShadowScores
from lpla.contracts.inputs import InputError
from lpla.contracts.result import AuditResult
from lpla.metrics.epsilon import contradictions, epsilon_bound
from lpla.metrics.exposed import PRECISION, exposed, exposure_threshold
from lpla.metrics.intervals import by_labels

Scores = Float[np.ndarray, " n"]
Member = Bool[np.ndarray, " n"]
EVEN = 0.5
"""The prior at which members and non-members are as many, as in the balanced layout."""
RARE = {"10pct": 0.1, "1pct": 0.01}
"""Priors at which members are few, by the names that columns have for them."""


def left_out_scores(
    attack: Attack,
    configured: Attack,
    seen: Sequence[Seen],
    inside: Sequence[Bool[np.ndarray, " N"]],
    judged: Bool[np.ndarray, " N"],
) -> ShadowScores | None:
    """Scores of the encoders from which an attack learnt, each by an attack that learnt from the others alone.

    Args:
        attack: fitted; where it has such scores of its own they are taken.
        configured: the same before it learnt.
        seen: what the attacker got of every encoder that taught it.
        inside: who was trained on which image.
        judged: the images that count.

    Returns:
        None where the encoders are too few, or were asked about other images than the judged ones. An encoder's
        complement sits out with it (`judges`).
    """
    if attack.shadow_scores_ is not None:
        return attack.shadow_scores_
    if any(one.foreign or len(one.index) != len(judged) for one in seen) or len(seen) < 2:
        return None
    member, scores = np.stack(inside)[:, judged], []
    try:
        for one, others in enumerate(judges(member)):
            taught = [label(seen[other], inside[other]) for other in np.flatnonzero(others).tolist()]
            scores.append(deepcopy(configured).fit(taught).score(seen[one])[judged])
    except InputError:
        return None
    return ShadowScores(np.concatenate(scores), member.ravel())


def named_at(score: Scores, known: ShadowScores | None, choices: int = 1) -> Member:
    """Whether each image is at or above the threshold that known encoders set; none is where they set none.

    Args:
        score: of the judged images.
        known: the left-out scores of the encoders that taught the attack; None: there are none.
        choices: rows of the job, of which the attacker keeps the best one.

    Returns:
        Whether each image is named.
    """
    threshold = _threshold(known, EVEN, choices)
    return np.zeros(len(score), dtype=bool) if threshold is None else score >= threshold


def with_statements(
    row: AuditResult, score: Scores, untrained: Scores, known: ShadowScores | None, member: Member
) -> AuditResult:
    """The row with its bound on epsilon and its exposed images, and the same of the untrained encoder's scores.

    Args:
        row: of the audited encoder; all bounds allow for its being one of `row.compared`.
        score: of its judged images.
        untrained: the same by its initial weights.
        known: the left-out scores of the encoders that taught the attack; None: there are none.
        member: who was inside.

    Returns:
        The row with these statements.
    """
    found, unsaid = _epsilon(row, score, untrained, member), []
    if (threshold := _threshold(known, EVEN, row.compared)) is None:
        unsaid.append(EVEN)
    else:
        at, blank = (exposed(one, member, threshold, EVEN, row.compared) for one in (score, untrained))
        found |= {"exposed_members": at.members, "exposed_precision": at.precision and at.precision.value}
        ends = ("low", "high")
        found |= {f"exposed_precision_{end}": at.precision and getattr(at.precision, end) for end in ends}
        found |= {
            "null_untrained_exposed_members": blank.members,
            "null_untrained_exposed_nonmembers": blank.nonmembers,
        }
    for name, prior in RARE.items():
        if (threshold := _threshold(known, prior, row.compared)) is None:
            unsaid.append(prior)
        else:
            at = exposed(score, member, threshold, prior, row.compared)
            found |= {f"exposed_members_prior_{name}": at.members, f"exposed_precision_prior_{name}": at.at_prior}
    row = replace(row, **found)
    return replace(row, notes=(*row.notes, *contradictions([asdict(row)]), *_unsaid(row.layer, known, unsaid)))


def _threshold(known: ShadowScores | None, prior: float, choices: int) -> float | None:
    return known and exposure_threshold(known.score, known.member, prior, choices)


def _epsilon(row: AuditResult, score: Scores, untrained: Scores, member: Member) -> dict[str, Any]:
    """The columns of the bound; none where the members were handed in, as these are no draw.

    None either by labels: there the guess at one image rests on the labels of all others, so that one draw can make
    all guesses right together, and their number has not the law that the bound takes for granted.
    """
    if row.split == "given" or row.given or by_labels(row.knowledge):
        return {}
    bound, blank = (epsilon_bound(one, member, row.seed, row.compared) for one in (score, untrained))
    return {"eps_low": bound.low, "eps_cap": bound.cap, "null_untrained_eps_low": blank.low}


def _unsaid(layer: str, known: ShadowScores | None, priors: Sequence[float]) -> list[str]:
    """The sentence on priors at which no count is honest."""
    if not priors:
        return []
    why = f"no threshold names images of the shadows of which {PRECISION:.0%} would be members there"
    if known is None:
        why = "there are no shadows whose left-out scores could set a threshold"
    at = " or ".join([*filter(None, [", ".join(map(str, priors[:-1]))]), str(priors[-1])])
    return [f"{layer}: no honest count of exposed images at a prior of {at}: {why}"]

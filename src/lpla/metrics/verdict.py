"""One sentence on a row: "leaks", "no leak found at this sample size", "undecided" or "invalid" (our section 9.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm

from lpla.metrics.nulls import FALSE_ALARMS, BlindResult
from lpla.metrics.roc import auc, null_error, tpr_absent, tpr_at
from lpla.metrics.significance import LeakTest, leak_test

QUANTILE = 3.2905
"""Standard errors from 0.5, passed on either side with probability 0.1 % where nothing is wrong."""
INVALID_BY_CHANCE = 1.5 * 2 * float(norm.sf(QUANTILE)) + 2 * FALSE_ALARMS
"""Probability, at most, that a sound row is called invalid: the untrained encoder on either side, the scores on one,
the pixels and the views (`nulls.FALSE_ALARMS` each)."""


@dataclass(frozen=True)
class Nulls:
    """What must not tell the groups apart; None: was not looked at, which the verdict then says."""

    untrained_auc: float | None
    blind: BlindResult | None
    parity: BlindResult | None


def verdict(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], nulls: Nulls) -> str:
    """The verdict on scores (higher = member) beside their nulls, and the numbers from which it is drawn.

    A row leaks if one of two tests of "no leak" says so, each at 1.25 %: that of all ranks, and that of the members
    found at the lowest measurable false-positive rate. A verdict of "undecided" says that no test was possible; it is
    not a kind of "no leak found".
    """
    test, members, nonmembers = leak_test(score, member), int(member.sum()), int((~member).sum())
    if reasons := _invalid(test, nulls, members, nonmembers):
        return f"invalid: {'; '.join(reasons)}"
    unseen = [name for name, null in vars(nulls).items() if null is None]
    unseen = f"; not checked: {', '.join(name.removesuffix('_auc') for name in unseen)}" if unseen else ""
    if test.undecided:
        return f"undecided: {test.undecided}{unseen}"
    counts = f"{members} members against {nonmembers} non-members"
    return f"{_decision(test)}: {_figures(score, member, test)}, {counts}{unseen}"


def _decision(test: LeakTest) -> str:
    if not test.leaks:
        return "no leak found at this sample size"
    return f"leaks: the {'rank' if test.p_rank <= test.p_tail else 'tail'} test decides"


def _figures(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], test: LeakTest) -> str:
    area, rate = auc(score, member), tpr_at(score, member, test.tail_fpr)
    ranks = f"AUC {area.value:.3f} [{area.low:.3f} {area.high:.3f}] (rank test p = {test.p_rank:.2g})"
    tail = f"tail test p = {test.p_tail:.2g}"
    if rate is None:
        return f"{ranks}, {tail}, {tpr_absent(test.tail_fpr, int((~member).sum()))}"
    return f"{ranks}, TPR {rate.value:.1%} [{rate.low:.1%} {rate.high:.1%}] at {rate.requested_fpr:.1%} FPR ({tail})"


def _invalid(test: LeakTest, nulls: Nulls, members: int, nonmembers: int) -> list[str]:
    reasons = []
    for null, what in (
        (nulls.blind, "the blind baseline separates the groups"),
        (nulls.parity, "the views differ between the groups"),
    ):
        if null is not None and null.distrust:
            reasons.append(f"{what} (AUC {null.auc:.3f} of {null.feature})")
    limit = QUANTILE * null_error(members, nonmembers)
    if nulls.untrained_auc is not None and abs(nulls.untrained_auc - 0.5) > limit:
        reasons.append(f"an untrained encoder is told apart (AUC {nulls.untrained_auc:.3f}, not 0.5 +- {limit:.3f})")
    if test.separation < -QUANTILE:
        reasons.append(
            f"the scores separate the groups the wrong way ({-test.separation:.1f} standard errors below 0.5)"
        )
    return reasons

"""One sentence on a row: "leaks", "no leak found at this sample size", or "invalid" (our sections 6 and 7)."""

from __future__ import annotations

from dataclasses import dataclass

from lpla.metrics.nulls import BlindResult
from lpla.metrics.roc import Rate, null_error, tpr_absent

LEVEL = 0.025
"""A row without a leak is called leaking with at most this probability; over several rows the risks add up."""
UNTRAINED_QUANTILE = 3.2905
"""Standard errors from 0.5, passed on either side with probability 0.1 % where nothing is wrong.

Sound groups are called invalid in at most 2.1 % of the audits: 0.1 % here, 1 % by the pixels and 1 % by the views
(`nulls.FALSE_ALARMS`), which in truth overlap.
"""


@dataclass(frozen=True)
class Nulls:
    """What must not tell the groups apart; None: was not looked at, which the verdict then says."""

    untrained_auc: float | None
    blind: BlindResult | None
    parity: BlindResult | None


def verdict(rate: Rate | None, leak_p: float | None, nulls: Nulls, members: int, nonmembers: int) -> str:
    """The verdict and the numbers from which it is drawn; the AUC is not among them.

    `rate` and `leak_p` are `tpr_at` and `leak_p_value` at `lowest_fpr(nonmembers)`, None where that is None. A leak
    needs both: the rate's lower bound above the false-positive rate asked for, which takes the threshold as given, and
    the exact test, which does not.
    """
    if reasons := _invalid(nulls, members, nonmembers):
        return f"invalid: {'; '.join(reasons)}"
    unseen = [name for name, null in vars(nulls).items() if null is None]
    unseen = f"; not checked: {', '.join(name.removesuffix('_auc') for name in unseen)}" if unseen else ""
    if rate is None or leak_p is None:
        return f"no leak found at this sample size: {tpr_absent(0.05, nonmembers)}{unseen}"
    leaks = rate.low > rate.requested_fpr and leak_p < LEVEL
    found = (
        f"TPR {rate.value:.1%} [{rate.low:.1%} {rate.high:.1%}] at {rate.requested_fpr:.1%} FPR "
        f"(realised {rate.realised_fpr:.2%}), p = {leak_p:.2g}, {members} members against {nonmembers} non-members"
    )
    return f"{'leaks' if leaks else 'no leak found at this sample size'}: {found}{unseen}"


def _invalid(nulls: Nulls, members: int, nonmembers: int) -> list[str]:
    reasons = []
    for null, what in (
        (nulls.blind, "the blind baseline separates the groups"),
        (nulls.parity, "the views differ between the groups"),
    ):
        if null is not None and null.distrust:
            reasons.append(f"{what} (AUC {null.auc:.3f} of {null.feature})")
    limit = UNTRAINED_QUANTILE * null_error(members, nonmembers)
    if nulls.untrained_auc is not None and abs(nulls.untrained_auc - 0.5) > limit:
        reasons.append(f"an untrained encoder is told apart (AUC {nulls.untrained_auc:.3f}, not 0.5 +- {limit:.3f})")
    return reasons

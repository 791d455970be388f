"""One sentence on a row: "leaks", "no leak found at this sample size", "undecided" or "invalid"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm

from lpla.metrics.nulls import FALSE_ALARMS, QUANTILE, BlindResult, Departure, SentViews
from lpla.metrics.roc import Estimate, auc, found_in_tail, null_error, tpr_absent, tpr_at
from lpla.metrics.significance import LeakTest, leak_test
from lpla.metrics.two_sample import TwoSample

INVALID_BY_CHANCE = 5.5 * 2 * float(norm.sf(QUANTILE)) + 2 * FALSE_ALARMS
"""Probability, at most, that a sound row is called invalid: by the untrained encoder, the one that cannot have seen the
images, permuted membership, the fresh images and the shadows on either side, by the scores on one, by the images and
the views (`nulls.FALSE_ALARMS` each)."""


@dataclass(frozen=True)
class Nulls:
    """Results that must not tell the groups apart; None: not checked, which the verdict then says."""

    untrained_auc: float | None = None
    images: TwoSample | None = None
    views: BlindResult | None = None
    sent: SentViews | None = None
    permuted: Departure | None = None
    fresh: Departure | None = None
    shadows: Departure | None = None
    reference_auc: float | None = None
    """AUC on an encoder that cannot have seen the images, which only some audits have."""
    excess: Estimate | None = None
    """Excess of the attack's AUC over that of the images alone, where these tell the groups apart; no null itself."""


SAID = {
    "untrained_auc": "the untrained encoder",
    "images": "the images",
    "views": "the views",
    "sent": "what was sent",
    "permuted": "permuted membership",
    "fresh": "fresh images",
    "shadows": "the shadows' scores",
}
"""Names of the nulls, for what was not checked."""


def verdict(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], nulls: Nulls, spread: float = 1.0) -> str:
    """Give the verdict on scores (higher = member) beside their nulls, and the numbers from which it is drawn.

    A row leaks if one of two tests of "no leak" says so, each at 1.25 %: that of all ranks, and that of the members
    found at the lowest measurable false-positive rate. A verdict of "undecided" says that no test was possible, of a
    leak or of scores that look backwards; it is not a kind of "no leak found".

    Args:
        score: One per image.
        member: Whether each image was inside.
        nulls: What must not tell the groups apart.
        spread: Of an AUC without a leak, in standard errors over images: `intervals.CROSS_FITTED` where the attack
            learnt from labels of the judged images.

    Returns:
        The sentence.
    """
    test, members, nonmembers = leak_test(score, member, spread), int(member.sum()), int((~member).sum())
    if reasons := _invalid(test, nulls, spread * null_error(members, nonmembers)):
        return f"invalid: {'; '.join(reasons)}"
    unseen = [SAID[name] for name, null in vars(nulls).items() if null is None and name in SAID]
    unseen = f"; not checked: {', '.join(unseen)}" if unseen else ""
    if open_question := test.undecided or test.doubtful:
        return f"undecided: {open_question}{unseen}"
    counts = f"{members} members against {nonmembers} non-members"
    return f"{_decision(test)}: {_figures(score, member, test, spread)}, {counts}{unseen}"


def _decision(test: LeakTest) -> str:
    if not test.leaks:
        return "no leak found at this sample size"
    return f"leaks: the {'rank' if test.p_rank <= test.p_tail else 'tail'} test decides"


def _figures(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], test: LeakTest, spread: float) -> str:
    area, rate = auc(score, member, spread), tpr_at(score, member, test.tail_fpr)
    ranks = f"AUC {area.value:.3f} [{area.low:.3f} {area.high:.3f}] (rank test p = {test.p_rank:.2g})"
    tail = f"tail test p = {test.p_tail:.2g}"
    if test.leaks and test.p_tail < test.p_rank:
        # The rate beside it allows for the cut, and one non-member less.
        found, allowed = found_in_tail(score, member, test.tail_fpr)
        tail = f"{tail}: {found} members above all but {allowed} non-members"
    if rate is None:
        return f"{ranks}, {tail}, {tpr_absent(test.tail_fpr, int((~member).sum()))}"
    return f"{ranks}, TPR {rate.value:.1%} [{rate.low:.1%} {rate.high:.1%}] at {rate.requested_fpr:.1%} FPR ({tail})"


def _invalid(test: LeakTest, nulls: Nulls, error: float) -> list[str]:
    """Sentences on what the nulls tell; `error` is the standard error of an AUC without a leak."""
    reasons = [*_on_images(nulls), *_on_scores(nulls)]
    limit = QUANTILE * error
    said = {"an untrained encoder": nulls.untrained_auc, "an encoder that never saw the images": nulls.reference_auc}
    for which, found in said.items():
        if found is not None and abs(found - 0.5) > limit:
            reasons.append(f"{which} is told apart (AUC {found:.3f}, not 0.5 +- {limit:.3f})")
    if test.backwards:
        reasons.append(
            f"the scores separate the groups the wrong way ({-test.separation:.1f} standard errors below 0.5)"
        )
    return reasons


def _on_images(nulls: Nulls) -> list[str]:
    reasons = []
    if (images := nulls.images) is not None and images.distrust:
        how = f"AUC {images.auc:.3f} of a classifier that sees no encoder, p = {images.p:.2g}"
        over = nulls.excess
        over = over and f"; the attack's AUC less that is {over.value:+.3f} [{over.low:+.3f} {over.high:+.3f}]"
        most = f"most in {images.feature}, AUC {images.feature_auc:.3f}"
        reasons.append(f"the images differ between the groups ({how}; {most}{over or ''})")
    if (sent := nulls.sent) is not None and sent.distrust:
        counts = f"{sent.views} views of {sent.images} of {sent.asked} images"
        reasons.append(f"what was sent is not what was asked for ({counts}; {', '.join(sent.encoders)})")
    if (views := nulls.views) is not None and views.distrust:
        reasons.append(f"the views differ between the groups (AUC {views.auc:.3f} of {views.feature})")
    return reasons


def _on_scores(nulls: Nulls) -> list[str]:
    said = (
        (nulls.permuted, "permuted membership is told"),
        (nulls.fresh, "non-members are told from images outside every training set"),
        (nulls.shadows, "scores of the shadows tell the target's members"),
    )
    return [
        f"{what} (AUC {null.auc:.3f}, {abs(null.z):.1f} standard errors from 0.5)"
        for null, what in said
        if null is not None and null.distrust
    ]

"""What must come out at 0.5 where nothing leaks: permuted membership, fresh images, shadows' scores, sent views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm, rankdata

from lpla.metrics.permuted_sums import DRAWS, doubled_ranks, in_errors
from lpla.metrics.roc import auc, null_error
from lpla.metrics.significance import separation

FALSE_ALARMS = 0.01
"""Probability, at most, that groups drawn alike are called different by any summary: Bonferroni over the summaries."""
VIEW_SUMMARIES = ("mean", "root_mean_square", "step_across", "step_down", "between_views")
QUANTILE = 3.2905
"""Standard errors from 0.5, passed on either side with probability 0.1 % where nothing is wrong."""
ROUNDING = 1e-4
"""Part of a projection's size by which other devices and compiled code may round it."""
COLUMNS = 0.05
"""Part of the variance of one permutation's AUC that the mean over many permutations keeps; a bound. Over 30 audits of
untrained encoders and 16 of trained ones at 20 permutations, means spread by .79 and .72 of the error that it gives."""


@dataclass(frozen=True)
class BlindResult:
    """The summary whose AUC is farthest from 0.5 without any encoder, and whether that is more than chance."""

    auc: float
    feature: str
    distrust: bool


@dataclass(frozen=True)
class Departure:
    """An AUC that must be 0.5, and how far it is from that in standard errors of its own."""

    auc: float
    z: float

    @property
    def distrust(self) -> bool:
        """Whether chance alone comes so far with probability 0.1 % at most."""
        return abs(self.z) > QUANTILE


@dataclass(frozen=True)
class SentViews:
    """How many views, of how many of the images asked about, reached an encoder otherwise than they were asked for."""

    views: int
    images: int
    asked: int
    encoders: tuple[str, ...]
    """Names of the encoders that got such a view."""

    @property
    def distrust(self) -> bool:
        """Whether any did: a projection that differs is no chance."""
        return self.views > 0


def permuted(
    inside: Bool[np.ndarray, "K N"], candidates: Bool[np.ndarray, " N"], seed: int | list[int]
) -> Bool[np.ndarray, "K N"]:
    """Permute membership: every image gets the whole column of another one (a candidate that of a candidate).

    The layout's balance survives, so that an attack is fitted as it was.

    Args:
        inside: Whether each encoder holds each image.
        candidates: Which images are candidates.
        seed: Seed of the permutation.

    Returns:
        Membership of the same balance, whose tie to the images is cut.
    """
    order = np.arange(inside.shape[1])
    for group in (candidates, ~candidates):
        order[group] = np.random.default_rng(seed).permutation(order[group])
    return inside[:, order]


def fresh_images(nonmembers: Float[np.ndarray, " n"], fresh: Float[np.ndarray, " f"]) -> Departure:
    """AUC between the scores of the non-members and those of images outside every training set: nothing can leak."""
    score, first = np.concatenate([nonmembers, fresh]), np.arange(len(nonmembers) + len(fresh)) < len(nonmembers)
    return Departure(auc(score, first).value, _in_errors(score, first))


def permuted_membership(found: Sequence[float], members: int, nonmembers: int, spread: float = 1.0) -> Departure:
    """Judge the mean AUC over permutations of membership.

    Permutations keep whole columns, and so what membership in the target has in common, by chance, with membership in
    the shadows: the mean over many varies by that. Its squared error is therefore that of one AUC divided by the number
    of permutations, and as much again as `COLUMNS` of one.

    Args:
        found: The AUC under each permutation.
        members: Judged images inside.
        nonmembers: Judged images outside.
        spread: Of one AUC without truth, in standard errors over images (`intervals.CROSS_FITTED`).

    Returns:
        The mean with what chance allows it.
    """
    error = spread * null_error(members, nonmembers) * math.sqrt(1 / len(found) + COLUMNS)
    return Departure(float(np.mean(found)), (float(np.mean(found)) - 0.5) / error)


def shadows_rows(score: Float[np.ndarray, "K N"], member: Bool[np.ndarray, " N"]) -> Departure:
    """AUC of the shadows' scores of images against who was inside the target, which their training knew nothing of.

    Each shadow and the mean of all are compared; the farthest is returned, its distance cut by as much as the most of
    so many may reach (Bonferroni). The mean of the AUCs is that of a linear rank statistic, the mean of the shadows'
    ranks, so that its error without signal holds however the shadows depend on each other.
    """
    ranks = np.stack([rankdata(one) for one in score])
    looked_at = [*ranks, ranks.mean(axis=0)] if len(ranks) > 1 else [*ranks]
    # Sums of doubled mid-ranks are integers; where ties are heavy, enough memberships are drawn for so many looks.
    whole = [np.rint(2 * len(ranks) * one).astype(np.int64) for one in looked_at]
    draws = DRAWS * len(looked_at)
    z = np.array(
        [in_errors(_rank_separation(a, member), b, member, draws) for a, b in zip(looked_at, whole, strict=True)]
    )
    best = int(np.argmax(np.abs(z)))
    n, m = len(member), int(member.sum())
    area = (looked_at[best][member].sum() - m * (m + 1) / 2) / (m * (n - m))
    limit = float(norm.isf(norm.sf(QUANTILE) / len(looked_at)))
    return Departure(float(area), float(z[best]) * QUANTILE / limit)


def _in_errors(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> float:
    """AUC less 0.5 in standard errors, such that the normal law holds with ties too."""
    return in_errors(separation(score, member), doubled_ranks(score), member)


def _rank_separation(ranks: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> float:
    """Sum over the members of numbers that average (N + 1) / 2, over its error when the members are drawn at random."""
    n, m = len(ranks), int(member.sum())
    error = math.sqrt(m * (n - m) / (n - 1) * ranks.var())
    return float((ranks[member].sum() - m * ranks.mean()) / error) if error else 0.0


def parity_auc(
    summaries: Float[np.ndarray, "N Q 4"], projection: Float[np.ndarray, "N Q"], member: Bool[np.ndarray, " N"]
) -> BlindResult:
    """Test whether the views that the target got tell the groups apart.

    Then their transforms differ, and are what is seen: a published attack cropped and flipped members but only resized
    non-members; it measured that. Every summary is a mean over an image's views; `between_views` is the deviation of
    the views' projections.

    Args:
        summaries: Four summaries of each view.
        projection: A projection of each view.
        member: Whether each image was inside the target.

    Returns:
        The summary that separates the groups most.
    """
    features = np.column_stack([summaries.mean(axis=1), projection.std(axis=1)])
    return farthest(features, VIEW_SUMMARIES, member)


def sent_as_asked(
    sent: Float[np.ndarray, "N Q"], asked: Float[np.ndarray, "N Q"], exact: bool
) -> Bool[np.ndarray, "N Q"]:
    """Compare each view's projection with that of the view that was intended.

    Args:
        sent: Projections of the views that an encoder was given.
        asked: Those of the same views made once more.
        exact: Whether both were made by the same code on the same kind of device, so that no bit may differ; otherwise
            a difference of `ROUNDING` of a projection's usual size is taken for rounding.

    Returns:
        Whether each view arrived unchanged.
    """
    allowed = 0.0 if exact else ROUNDING * float(np.abs(asked).mean())
    return np.asarray(np.abs(sent - asked) <= allowed)


def farthest(features: Float[np.ndarray, "N F"], names: Sequence[str], member: Bool[np.ndarray, " N"]) -> BlindResult:
    """Find the feature whose AUC is farthest from 0.5 on either side.

    Args:
        features: Features of each image.
        names: Their names.
        member: Whether each image was inside the target.

    Returns:
        Its name, its AUC and its distance from 0.5 in standard errors of an AUC without signal.
    """
    found = [auc(column, member).value for column in features.T]
    z = [abs(_in_errors(column, member)) for column in features.T]
    best = int(np.argmax(z))
    limit = norm.isf(FALSE_ALARMS / len(names) / 2)
    return BlindResult(found[best], names[best], bool(z[best] > limit))

"""What must come out at 0.5 where nothing leaks: permuted membership, two halves of non-members, pixels, sent views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.stats import norm, rankdata

from lpla.contracts.result import InputError
from lpla.metrics.roc import Estimate, auc, sides

FALSE_ALARMS = 0.01
"""Probability, at most, that groups drawn alike are called different by any summary: Bonferroni over the summaries."""
VIEW_SUMMARIES = ("norm", "deviation", "between_views", "roughness")


@dataclass(frozen=True)
class BlindResult:
    """The summary whose AUC is farthest from 0.5 without any encoder, and whether that is more than chance."""

    auc: float
    feature: str
    distrust: bool


def permuted(
    inside: Bool[np.ndarray, "K N"], candidates: Bool[np.ndarray, " N"], seed: int | list[int]
) -> Bool[np.ndarray, "K N"]:
    """Membership without truth: every image carries the whole column of another one (a candidate that of a candidate).

    The layout's balance survives, so an attack is fitted as it was; only the tie between image and membership is cut.
    """
    order = np.arange(inside.shape[1])
    for group in (candidates, ~candidates):
        order[group] = np.random.default_rng(seed).permutation(order[group])
    return inside[:, order]


def nonmember_auc(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], seed: int | list[int]) -> Estimate:
    """AUC between two random halves of the non-members: both groups non-members, so nothing can leak."""
    _, outside = sides(score, member)
    if len(outside) < 2:
        raise InputError(f"the null of two halves needs at least 2 non-members, got {len(outside)}")
    half = np.arange(len(outside)) < len(outside) // 2
    return auc(np.random.default_rng(seed).permutation(outside), half)


def parity_auc(summaries: Float[np.ndarray, "N 4"], member: Bool[np.ndarray, " N"]) -> BlindResult:
    """Whether the views sent to the target, by their `view_summaries`, tell the groups apart.

    Then their transforms differ, and are what is seen: a published attack cropped and flipped members but only resized
    non-members; it measured that.
    """
    return farthest(summaries, VIEW_SUMMARIES, member)


def view_summaries(
    views: Float[np.ndarray, "N Q C S S"] | UInt8[np.ndarray, "N Q C S S"],
) -> Float[np.ndarray, "N 4"]:
    """The columns of `VIEW_SUMMARIES`, each a mean over an image's views.

    L2 norm; deviation of a view's values; deviation of a pixel's values between views; mean step between neighbouring
    pixels, which interpolation smooths.
    """
    return np.stack([_one_image(image.astype(np.float64)) for image in views])


def _one_image(views: Float[np.ndarray, "Q C S S"]) -> Float[np.ndarray, " 4"]:
    flat = views.reshape(len(views), -1)
    steps = (np.abs(np.diff(views, axis=axis)).mean() if views.shape[axis] > 1 else 0.0 for axis in (-1, -2))
    norms = np.linalg.norm(flat, axis=1)
    return np.array([norms.mean(), flat.std(axis=1).mean(), flat.std(axis=0).mean(), sum(steps)])


def farthest(features: Float[np.ndarray, "N F"], names: Sequence[str], member: Bool[np.ndarray, " N"]) -> BlindResult:
    """The summary farthest from 0.5 on either side, in standard errors of an AUC without signal."""
    found = [auc(column, member).value for column in features.T]
    z = [_standard_errors(value, column, member) for value, column in zip(found, features.T, strict=True)]
    best = int(np.argmax(z))
    limit = norm.isf(FALSE_ALARMS / len(names) / 2)
    return BlindResult(found[best], names[best], bool(z[best] > limit))


def _standard_errors(value: float, column: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> float:
    """Distance from 0.5 over the rank sum's standard error without signal, corrected for ties (Mann-Whitney)."""
    n, m = len(column), int(member.sum())
    variance = float(rankdata(column).var()) / (m * (n - m) * (n - 1))
    return abs(value - 0.5) / math.sqrt(variance) if variance else 0.0

"""Scores of shadows that each play the target once: where per-sample models learn their threshold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.per_sample import PerSample
from lpla.contracts.inputs import InputError


def leave_one_out(
    make_model: Callable[[], PerSample], x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]
) -> Float[np.ndarray, "K N"]:
    """Score every shadow by the others.

    A shadow's complement sits out with it. The target has no complement among the shadows; a stand-in that had one
    would be judged by counts that give its members away, reversed (AUC .47 instead of .50 at 4 shadows without any
    signal). A complement is trained on exactly the images that the shadow was not, of those that any shadow held.

    Images that no shadow held, or that all did, mean nothing: they could come out as one side alone. In the disjoint
    layout these are the target's candidates. There the threshold comes from the shadows' own part of the pool, whose
    images differ from the candidates in what they are judged by: K - 2 shadows, half of them inside, instead of K
    shadows outside. `hier` and `offline` scale every score by what is known of its image; the shares of `rmia` are a
    little less certain than those of candidates.

    Args:
        make_model: Makes an unfitted model.
        x: Scalars of each image under each shadow.
        inside: Whether each shadow was trained on each image.

    Returns:
        A score per shadow and image, nan where it means nothing.

    Raises:
        InputError: If the others are too few.
    """
    judged, scores, models = held_by_some(inside), np.full(x.shape, np.nan), {}
    for k, others in enumerate(judges(inside)):
        jury = others.tobytes()  # a shadow and its complement have the same one
        if jury not in models:
            models[jury] = make_model().fit(x[others], inside[others])
        scores[k, judged] = models[jury].score(x[k])[judged]
    return scores


def held_by_some(inside: Bool[np.ndarray, "K N"]) -> Bool[np.ndarray, " N"]:
    """Return whether some shadow held each image and some did not."""
    return np.asarray(inside.any(axis=0) & ~inside.all(axis=0))


def judges(inside: Bool[np.ndarray, "K N"]) -> Bool[np.ndarray, "K K"]:
    """Row k: the shadows that judge shadow k, all but itself and its complement."""
    held = inside[:, held_by_some(inside)]
    return np.stack([(held != ~row).any(axis=1) for row in held]) & ~np.eye(len(held), dtype=bool)


def balanced_cut(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> float:
    """Return the lowest score called a member at the largest balanced accuracy; of equally good cuts the highest.

    Raises InputError where the scores are of one side alone.
    """
    if member.all() or not member.any():
        counts = f"{member.sum()} and {(~member).sum()}"
        raise InputError(f"a threshold needs usable members and non-members in the shadows, got {counts}")
    values, group = np.unique(score, return_inverse=True)
    inside = np.bincount(group[member], minlength=len(values))
    outside = np.bincount(group[~member], minlength=len(values))
    true_rate = np.cumsum(inside[::-1])[::-1] / inside.sum()
    false_rate = np.cumsum(outside[::-1])[::-1] / outside.sum()
    gain = true_rate - false_rate
    return float(values[np.flatnonzero(gain == gain.max())[-1]])

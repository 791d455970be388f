"""One scale for every encoder, and the per-sample normal fit over its views."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

NORMAL_MAD = 1.4826
"""Standard deviation of a normal variable over its median absolute deviation."""
TIE = 1e-6
"""Spread, in log units, below which all values are one: a unit-normalised encoder has only rounding noise."""


def standardise(
    s: Float[np.ndarray, "N Q"], reference: Float[np.ndarray, "n Q"] | None = None
) -> Float[np.ndarray, "N Q"]:
    """u = (s - median) / (1.4826 MAD) over all images and views of one encoder and one p.

    The reference is every image, members and non-members alike, so nothing of the membership enters; without shadows,
    where the candidates may be anything, it is `reference`: the same encoder's known non-members. Where more than half
    of the values are one, so that the MAD is 0, their standard deviation stands for it, and what lies within `TIE` of
    the median is the median. Unusable views (s not finite) get nan: nothing is known of them, which no number says.
    """
    usable = np.isfinite(s)
    known = s[usable] if reference is None else reference[np.isfinite(reference)]
    if not known.size:
        return np.where(usable, 0.0, np.nan)
    # Indexing by a mask made a copy, whose order no longer matters.
    middle = np.median(known, overwrite_input=True)
    centred = np.where(usable, s, 0.0) - middle
    spread = NORMAL_MAD * np.median(np.abs(known - middle), overwrite_input=True)
    if spread < TIE:
        spread = known.std()
        centred = np.where(np.abs(centred) < TIE, 0.0, centred)
    if spread < TIE:
        return np.where(usable, 0.0, np.nan)
    return np.where(usable, centred / spread, np.nan)


def mean_of_views(u: Float[np.ndarray, "N Q"]) -> Float[np.ndarray, " N"]:
    """Return the mean of every image over its usable views; nan where it has none."""
    usable = np.isfinite(u)
    if usable.all():
        return u.mean(axis=1)
    count = usable.sum(axis=1)
    total = np.where(usable, u, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(u), np.nan), where=count > 0)


def view_moments(u: Float[np.ndarray, "N Q"]) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Mean m_i and within variance v_i = mean_q (u_iq - m_i)^2 of every image's usable views; nan where it has none."""
    mean = mean_of_views(u)
    return mean, mean_of_views((u - mean[:, None]) ** 2)

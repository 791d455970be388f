"""One scale for every encoder, and the per-sample normal fit over its views (our sections 3 and 4)."""

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
    where the candidates may be anything, it is `reference`: the same encoder's known non-members. Unusable views
    (s not finite) get u = 0, the middle: they say nothing, and their image stays in the table.
    """
    usable = np.isfinite(s)
    known = s[usable] if reference is None else reference[np.isfinite(reference)]
    if not known.size:
        return np.zeros_like(s)
    # Indexing by a mask made a copy, whose order no longer matters.
    middle = np.median(known, overwrite_input=True)
    centred = np.where(usable, s, 0.0) - middle
    spread = NORMAL_MAD * np.median(np.abs(known - middle), overwrite_input=True)
    if spread < TIE:
        return np.zeros_like(s)
    return np.where(usable, centred / spread, 0.0)


def view_moments(u: Float[np.ndarray, "N Q"]) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Mean m_i and within variance v_i = mean_q (u_iq - m_i)^2 of every image."""
    mean = u.mean(axis=1)
    return mean, ((u - mean[:, None]) ** 2).mean(axis=1)

"""The cut of a score that separates known members from known non-members best (our section 6)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def balanced_cut(score: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"]) -> float:
    """Lowest score called a member at the largest balanced accuracy; of equally good cuts the highest."""
    values, group = np.unique(score, return_inverse=True)
    inside = np.bincount(group[member], minlength=len(values))
    outside = np.bincount(group[~member], minlength=len(values))
    true_rate = np.cumsum(inside[::-1])[::-1] / inside.sum()
    false_rate = np.cumsum(outside[::-1])[::-1] / outside.sum()
    gain = true_rate - false_rate
    return float(values[np.flatnonzero(gain == gain.max())[-1]])

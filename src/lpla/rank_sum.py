"""What is known of an AUC without looking at a score."""

from __future__ import annotations

import math


def null_error(members: int, nonmembers: int) -> float:
    """Standard error of an AUC without signal and without ties: that of a rank sum (Mann & Whitney 1947)."""
    return math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))

"""What an image's mean over all pairs of views would be, where only some of them are known.

A mean over fewer pairs varies more, and pairs differ: without more ado 6 to 9 % of such images stand among the highest
5 %. What the known pairs say is weighed as the same pairs of the same encoder's other images tell to weigh it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.attack._log_norms import mean_of_known

FEWEST = 10
"""Images of which an encoder must answer every view: of fewer nothing is learnt, and the mean stays as it is."""

Pairs = Float[np.ndarray, "N P"]


def completed(pairs: Pairs, references: Sequence[Pairs]) -> Float[np.ndarray, " N"]:
    """Mean of every image over its pairs; of some known pairs, the regression of the mean over all on theirs.

    Both are taken less the image's own level, which is what other encoders say of the same pairs.

    Args:
        pairs: of one encoder; nan where unknown.
        references: of other encoders, of the same images; none: the level is that of all images.

    Returns:
        The means; nan where no pair is known.
    """
    known = ~np.isnan(pairs)
    mean, whole = mean_of_known(pairs, known), np.asarray(known.all(axis=1))
    partly = known.any(axis=1) & ~whole
    if not partly.any() or whole.sum() < FEWEST or not np.ptp(mean[whole]):
        return mean
    middle, spread = mean[whole].mean(), mean[whole].std()
    others = [one for one in map(_scaled, references) if one is not None]
    level = _level(others, np.ones(pairs.shape[1], dtype=bool), whole, mean, middle, spread)
    for mask in np.unique(known[partly], axis=0):
        rows = partly & (known == mask).all(axis=1)
        part = pairs[:, mask].mean(axis=1)
        own = _level(others, mask, whole, part, middle, spread)
        apart, of_part = (mean - middle) / spread - level, (part - middle) / spread - own
        taught = whole & np.isfinite(level) & np.isfinite(own)
        rows &= np.isfinite(level) & np.isfinite(own)
        if taught.sum() < FEWEST:
            continue  # Other encoders say nothing of the images that are known whole.
        f, g = apart[taught], of_part[taught]
        slope = float(np.sum((f - f.mean()) * (g - g.mean())) / (np.sum((g - g.mean()) ** 2) or 1.0))
        mean[rows] = middle + spread * (level[rows] + f.mean() + slope * (of_part[rows] - g.mean()))
    return mean


def _scaled(pairs: Pairs) -> Pairs | None:
    """Pairs such that the means over all of them have mean 0 and deviation 1; None where these do not vary."""
    mean = pairs.mean(axis=1)
    whole = mean[np.isfinite(mean)]
    return (pairs - whole.mean()) / whole.std() if len(whole) >= FEWEST and np.ptp(whole) else None


def _level(
    others: Sequence[Pairs],
    mask: Bool[np.ndarray, " P"],
    whole: Bool[np.ndarray, " N"],
    own: Float[np.ndarray, " N"],
    middle: float,
    spread: float,
) -> Float[np.ndarray, " N"]:
    """What other encoders say of these pairs of every image, nan where none does; without any, all images' mean."""
    if not others:
        return np.full(len(own), (own[whole].mean() - middle) / spread)
    said = np.stack([one[:, mask].mean(axis=1) for one in others])
    there = np.isfinite(said)
    total = np.where(there, said, 0.0).sum(axis=0)
    return np.divide(total, there.sum(axis=0), out=np.full(len(own), np.nan), where=there.any(axis=0))

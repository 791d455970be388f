"""What shadows say of each image's own level, taken out of an encoder's values without a label of its own (ours).

Some images look like members of any encoder. Shadows, whose members are known, tell how much of a value is the image's:
an image's level is the mean over shadows of its values, each less the mean of the members or of the non-members of all
shadows. What the encoder's values share with the levels, by least squares over all images, is not its membership,
which was drawn independently of the shadows'.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def explained(
    x: Float[np.ndarray, "N F"], others: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]
) -> Float[np.ndarray, "N F"]:
    """Return the part of each value that the image's level explains: subtract it; its mean over the known values is 0.

    Args:
        x: standardised values of one encoder, a column for each statistic; not finite where an image has none.
        others: the same of K shadows.
        inside: whether shadow k was trained on image i.

    Returns:
        Finite everywhere; 0 for a column whose levels are all equal, or of which fewer than 2 images are known.
    """
    level = _levels(others, inside)
    known = np.isfinite(x) & np.isfinite(level)
    counts = np.maximum(known.sum(axis=0), 1)
    values, levels = (np.where(known, one, 0.0) for one in (x, level))
    centred = np.where(known, levels - levels.sum(axis=0) / counts, 0.0)
    about_mean = np.where(known, values - values.sum(axis=0) / counts, 0.0)
    squares = (centred**2).sum(axis=0)
    slope = np.divide((centred * about_mean).sum(axis=0), squares, out=np.zeros(len(squares)), where=squares > 0)
    return slope * centred


def _levels(others: Float[np.ndarray, "K N F"], inside: Bool[np.ndarray, "K N"]) -> Float[np.ndarray, "N F"]:
    """Mean of every image's centred values over the shadows that have one; nan where none has."""
    known, centred = np.isfinite(others), np.zeros(others.shape)
    for side in (inside, ~inside):
        of_side = known & side[..., None]
        total = np.where(of_side, others, 0.0).sum(axis=(0, 1))
        mean = total / np.maximum(of_side.sum(axis=(0, 1)), 1)
        centred += np.where(of_side, np.where(known, others, 0.0) - mean, 0.0)
    times = known.sum(axis=0)
    return np.divide(centred.sum(axis=0), times, out=np.full(times.shape, np.nan), where=times > 0)

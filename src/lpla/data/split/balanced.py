"""Balanced layout: every candidate trains half of the shadows (complementary pairs), and the target by a fair draw.

The target's row is drawn independently of the shadows': paired with its own complement it biases per-sample attacks.
"""

import numpy as np
from jaxtyping import Bool

from lpla.contracts.inputs import Images, InputError, Membership, Split
from lpla.contracts.settings import checked
from lpla.contracts.streams import stream
from lpla.data.split._duplicates import NearDuplicates, eligible


@checked
class Balanced(Split):
    """A pool of twice `members` images, all of them candidates, of every group of near-duplicates at most one."""

    def __init__(self, *, near_duplicates: NearDuplicates = "keep_together") -> None:
        self.near_duplicates: NearDuplicates = near_duplicates

    def draw(self, images: Images, members: int | None, shadows: int, seed: int) -> Membership:
        """Row 0 is the target; rows 2j+1 and 2j+2 are the complementary pair j, drawn from (seed, j) alone."""
        order = stream("pool", seed).permutation(len(images))
        usable = eligible(images, order, self.near_duplicates)
        pool = 2 * usable.checked_members(images, members, parts=2)
        rows = [_half(pool, stream("target", seed)), *complementary_rows(pool, shadows, seed, "balanced")]
        everyone = np.ones(pool, dtype=bool)
        unseen = np.sort(usable.order[pool:])
        return Membership(usable.order[:pool], np.stack(rows), everyone, usable.aside, usable.groups, unseen)


def complementary_rows(pool: int, shadows: int, seed: int, split: str) -> list[Bool[np.ndarray, " N"]]:
    """Draw the rows of shadows over a pool: every image is in one of each pair, pair j drawn from (seed, j) alone.

    Args:
        pool: how many images there are.
        shadows: how many rows.
        seed: of the audit.
        split: the option's name, for messages.

    Returns:
        A row for each shadow, whether it holds each image.

    Raises:
        InputError: shadows do not come in pairs.
    """
    if shadows < 2 or shadows % 2:
        raise InputError(f"shadows must be an even number >= 2 in split={split} (they come in pairs), got {shadows}")
    rows = []
    for pair in range(shadows // 2):
        row = _half(pool, stream("shadows", seed, pair))
        rows += [row, ~row]
    return rows


def _half(pool: int, random: np.random.Generator) -> np.ndarray:
    inside = np.zeros(pool, dtype=bool)
    inside[random.permutation(pool)[: pool // 2]] = True
    return inside

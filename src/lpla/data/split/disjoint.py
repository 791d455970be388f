"""Disjoint layout: target members, target non-members, shadow members and shadow non-members in four equal parts.

No shadow ever saw a candidate: the attacker of EncoderMI (Liu et al., CCS '21), who has other images of the same kind.
"""

import numpy as np

from lpla.contracts.inputs import Images, InputError, Membership, Split
from lpla.contracts.settings import checked
from lpla.contracts.streams import stream
from lpla.data.split._duplicates import NearDuplicates, eligible


@checked
class Disjoint(Split):
    """A pool of four times `members` images, the first half candidates, of every group of near-duplicates one."""

    def __init__(self, *, near_duplicates: NearDuplicates = "keep_together") -> None:
        self.near_duplicates: NearDuplicates = near_duplicates

    def draw(self, images: Images, members: int | None, shadows: int, seed: int) -> Membership:
        """Row 0 is the target; shadows 2j+1 and 2j+2 have complementary halves of the shadow part, from (seed, j)."""
        order = stream("pool", seed).permutation(len(images))
        usable = eligible(images, order, self.near_duplicates)
        members = usable.checked_members(images, members, parts=4)
        if shadows < 1:
            raise InputError(f"shadows must be >= 1 in split=disjoint, got {shadows}")
        inside = np.zeros((1 + shadows, 4 * members), dtype=bool)
        inside[0, :members] = True
        for row in range(1, shadows + 1):
            pair, complement = divmod(row - 1, 2)
            order = 2 * members + stream("shadows", seed, pair).permutation(2 * members)
            inside[row, order[members:] if complement else order[:members]] = True
        candidates = np.arange(4 * members) < 2 * members
        unseen = np.sort(usable.order[4 * members :])
        return Membership(usable.order[: 4 * members], inside, candidates, usable.aside, usable.groups, unseen)

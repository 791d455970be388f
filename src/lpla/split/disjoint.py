"""Disjoint layout: target members, target non-members, shadow members and shadow non-members in four equal parts.

No shadow ever saw a candidate: the attacker of EncoderMI (Liu et al., CCS '21), who has other images of the same kind.
"""

import numpy as np

from lpla.contracts import Images, InputError, Membership, Split


class Disjoint(Split):
    """A pool of four times `members` images, of which the first half are the candidates."""

    def draw(self, images: Images, members: int, shadows: int, seed: int) -> Membership:
        """Row 0 is the target; shadows 2j+1 and 2j+2 have complementary halves of the shadow part, from (seed, j)."""
        limit = len(images) // 4
        if not 2 <= members <= limit:
            bound = f"{limit}, a quarter of the {len(images)} images of {images.name}"
            raise InputError(f"members must be at least 2 and at most {bound}, got {members}")
        if shadows < 1:
            raise InputError(f"shadows must be >= 1 in split=disjoint, got {shadows}")
        index = np.random.default_rng([seed, 0]).permutation(len(images))[: 4 * members]
        inside = np.zeros((1 + shadows, 4 * members), dtype=bool)
        inside[0, :members] = True
        for row in range(1, shadows + 1):
            pair, complement = divmod(row - 1, 2)
            order = 2 * members + np.random.default_rng([seed, 2, pair]).permutation(2 * members)
            inside[row, order[members:] if complement else order[:members]] = True
        return Membership(index=index, inside=inside, candidates=np.arange(4 * members) < 2 * members)

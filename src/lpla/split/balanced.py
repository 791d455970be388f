"""Balanced layout: every candidate is in half of the shadows (complementary pairs), and in the target by a fair draw.

The target's row is drawn independently of the shadows': paired with its own complement it biases per-sample attacks.
"""

import numpy as np

from lpla.contracts import Images, InputError, Membership, Split


class Balanced(Split):
    """A pool of twice `members` images, all of them candidates."""

    def draw(self, images: Images, members: int, shadows: int, seed: int) -> Membership:
        """Row 0 is the target; rows 2j+1 and 2j+2 are the complementary pair j, drawn from (seed, j) alone."""
        limit = len(images) // 2
        if not 2 <= members <= limit:
            bound = f"{limit}, half of the {len(images)} images of {images.name}"
            raise InputError(f"members must be at least 2 and at most {bound}, got {members}")
        if shadows < 2 or shadows % 2:
            raise InputError(
                f"shadows must be an even number >= 2 in split=balanced (they come in pairs), got {shadows}"
            )
        pool = 2 * members
        index = np.random.default_rng([seed, 0]).permutation(len(images))[:pool]
        rows = [_half(pool, seed, 1)]
        for pair in range(shadows // 2):
            row = _half(pool, seed, 2, pair)
            rows += [row, ~row]
        return Membership(index=index, inside=np.stack(rows), candidates=np.ones(pool, dtype=bool))


def _half(pool: int, *seed: int) -> np.ndarray:
    inside = np.zeros(pool, dtype=bool)
    inside[np.random.default_rng(seed).permutation(pool)[: pool // 2]] = True
    return inside

"""SSLMem as an attack: members' views lie nearer to the clean image's vector (Wang et al., ICLR '24, arXiv 2401.12233).

SSLMem measures memorisation by how much alignment differs between an encoder that saw the image and one that did not.
Ours: shadows are that reference, the side is learnt, and nothing is divided by the range of the scored images.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._pair_scalar import PairAttack
from lpla.attacks.attack._pairs import mean_distance
from lpla.contracts.evidence import Seen


class Alignment(PairAttack):
    """Mean distance of the views' unit vectors to the clean image's."""

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """The mean distance."""
        return mean_distance(seen)[:, None]

"""The likelihoods that compare an image with itself under other shadows, by the names of `attack.likelihood`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.crossed import Combined, Crossed
from lpla.attacks.likelihood.hier import Hier
from lpla.attacks.likelihood.lira import Lira
from lpla.attacks.likelihood.nig import Nig
from lpla.attacks.likelihood.offline import Offline
from lpla.attacks.likelihood.rmia import Rmia


@runtime_checkable
class PerSample(Protocol):
    """One scalar per image and encoder; fitted: `D_`, the members' shift, and `neutral_`."""

    D_: float
    neutral_: float
    """The score that favours neither side: the threshold where shadows are too few to learn one."""

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the standardised mean of image i under shadow k, nan where that shadow has no usable view of it.

        Raises InputError where the layout is too little to learn from.
        """
        ...

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Score every image of the target, higher = member; nan where `x0` is."""
        ...


PER_SAMPLE: Mapping[str, Callable[[], PerSample]] = {
    "lira": lambda: Lira(shared=False),
    "lira_shared": lambda: Lira(shared=True),
    "nig": Nig,
    "hier": Hier,
    "crossed": Crossed,
    "combined": Combined,
    "offline": Offline,
    "rmia": Rmia,
}

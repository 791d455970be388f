"""The defences that are compared and the values of their knobs, each as the settings that make it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from experiments._grid import CONF

Overrides = tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """One defence at one value of its knob."""

    family: str
    knob: str
    overrides: Overrides
    naive: bool = False
    """Whether the attacker does not know of the defence."""

    @property
    def name(self) -> str:
        """A name for files."""
        return f"{self.family}_{self.knob}{'_naive' if self.naive else ''}".replace(" ", "")


PLAIN, UNTRAINED, FREE = "none", "untrained", "early_stop"
"""No defence; no training at all; and the line that costs nothing: less of the same training."""
KNOBS: dict[str, dict[str, Overrides]] = {
    PLAIN: {"": ()},
    UNTRAINED: {"": ("epochs=0",)},
    FREE: {share: (f"defense.share={share}",) for share in ("0.25", "0.5", "0.75")},
    "unit_norm": {"": ()},
    "norms_only": {"": ()},
    "noise": {sigma: (f"defense.sigma={sigma}",) for sigma in ("0.03", "0.1", "0.3")},
    "noise_fresh": {sigma: (f"defense.sigma={sigma}",) for sigma in ("0.1",)},
    "quantise": {f"{bits} bit": (f"defense.bits={bits}",) for bits in (8, 1)},
    "top_k": {k: (f"defense.k={k}",) for k in ("4",)},
    "pca": {k: (f"defense.components={k}", "defense.images=200") for k in ("16", "4")},
    "round": {"0": ("defense.decimals=0",)},
    "weight_decay": {value: (f"defense.value={value}",) for value in ("0.005", "0.02")},
    "crop": {f"{low}-{high}": (f"defense.scale=[{low},{high}]",) for low, high in ((0.2, 0.5), (0.1, 0.25))},
    "strong_augment": {strength: (f"defense.strength={strength}",) for strength in ("1.5", "3")},
    "temperature": {value: (f"defense.value={value}",) for value in ("1", "3")},
    "early_stop_knn": {"10": ("defense.share=1", "defense.patience=10")},
    "distill": {images: (f"defense.images={images}",) for images in ("100",)},
    # Its network has group norm, and so another untrained one.
    "dp": {UNTRAINED: ("epochs=0",)} | {noise: (f"defense.noise={noise}",) for noise in ("1", "8")},
}
"""Family -> knob -> settings beside the option of the group `defense`, which is the family's name.

A defence that trains another network has a knob UNTRAINED: what that network is worth before any training is free too.
"""
OPTION = {UNTRAINED: PLAIN, "early_stop_knn": FREE}
"""The option of a family that is none itself."""
RELEASE = ("unit_norm", "norms_only", "noise", "noise_fresh", "quantise", "top_k", "pca", "round")
"""Families that train nothing of their own."""
TRAINING = tuple(one for one in KNOBS if one not in (*RELEASE, PLAIN))


def points(naive: bool = False) -> Iterator[Point]:
    """Return every defence at every value of its knob, the cheap ones first.

    Args:
        naive: whether the attacker knows nothing of the defence; then each defence is taken at its strongest.
    """
    for family, knobs in KNOBS.items():
        option = OPTION.get(family, family)
        if not (CONF / "defense" / f"{option}.yaml").exists() or (naive and family in (PLAIN, UNTRAINED)):
            continue
        for knob, settings in list(knobs.items())[-1:] if naive else knobs.items():
            more = ("knowledge.defense=none",) if naive else ()
            yield Point(family, knob, (f"defense={option}", *settings, *more), naive)

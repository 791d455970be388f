"""Train on stronger augmentation, so that no view of an image is shown often (a folk defence; its measure is ours)."""

from dataclasses import replace
from typing import Annotated

from annotated_types import Ge, Le

from lpla.contracts.defense import Defense
from lpla.contracts.inputs import InputError, Views
from lpla.contracts.settings import checked

WIDEST_HUE = 0.5


@checked
class StrongAugment(Defense):
    """Multiplies the strengths of the training views.

    Changes of colour are `strength` times as wide and operations as frequent, up to certainty, and the smallest crop
    shows so many times less. An operation that the views do not have stays out.
    """

    def __init__(self, *, strength: Annotated[float, Ge(1), Le(100)] = 2.0) -> None:
        self.strength = strength

    def train_views(self, views: Views) -> Views:
        """Return the stronger augmentation; raises InputError where there is nothing to strengthen."""
        ratio = self.strength
        often = {name: min(1.0, ratio * getattr(views, name)) for name in ("jitter", "grayscale", "blur")}
        wide = {name: ratio * getattr(views, name) for name in ("brightness", "contrast", "saturation")}
        low, high = views.crop_scale
        crops = {"crop_scale": (low if low == high == 1 else low / ratio, high)}
        found = replace(views, hue=min(WIDEST_HUE, ratio * views.hue), **often, **wide, **crops)
        if ratio > 1 and found == views:
            raise InputError("defense=strong_augment needs training views that change images, got views that do not")
        return found

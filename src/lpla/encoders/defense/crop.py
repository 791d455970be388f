"""Train on crops of a narrower range of sizes, as the defence of PartCrop's authors does (arXiv 2404.02462, "SCR")."""

from dataclasses import replace

from lpla.contracts.defense import Defense
from lpla.contracts.inputs import Views
from lpla.contracts.settings import ShareEnds, checked


@checked
class Crop(Defense):
    """Narrows the range of the part of an image's area that a training view shows.

    `scale` stands in place of the training views' crop_scale. Queries are cropped as before.
    """

    def __init__(self, *, scale: ShareEnds = (0.2, 0.5)) -> None:
        self.scale = scale

    def train_views(self, views: Views) -> Views:
        """Return the same augmentation with crops of this range."""
        return replace(views, crop_scale=self.scale)

"""Street View House Numbers: 99,289 cropped colour digits of 32 x 32 pixels, no `extra` (Netzer et al. 2011)."""

import numpy as np
from torchvision import datasets

from lpla.contracts.inputs import Dataset, Images, Views
from lpla.data.dataset._torchvision import Part, Source, load_pool


def _read(root: str, part: str, download: bool) -> Part:
    found = datasets.SVHN(root, split=part, download=download)
    return np.ascontiguousarray(found.data), found.labels


SOURCE = Source(
    name="svhn",
    place="train_32x32.mat",
    url="http://ufldl.stanford.edu/housenumbers",
    counts={"train": 73_257, "test": 26_032},
    shape=(3, 32, 32),
    read=_read,
)


class SVHN(Dataset):
    """torchvision's loader, with its checksums; train_32x32.mat and test_32x32.mat lie in data.root itself."""

    def __init__(self, *, root: str, download: bool, part: str, train_views: Views, query_views: Views) -> None:
        self.root, self.download, self.part = root, download, part
        self.train_views, self.query_views = train_views, query_views

    def load(self) -> Images:
        """The training images, then (part=pooled) the test images, as uint8 [N, 3, 32, 32]; the digit 0 has label 0."""
        return load_pool(SOURCE, self.root, self.download, self.part)

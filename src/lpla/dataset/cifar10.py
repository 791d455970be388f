"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in 10 classes (Krizhevsky 2009), train and test in one pool."""

from torchvision import datasets

from lpla.contracts import Dataset, Images, Views
from lpla.dataset._torchvision import load_pool


class CIFAR10(Dataset):
    """torchvision's loader, with its checksums."""

    def __init__(self, *, root: str, download: bool, train_views: Views, query_views: Views) -> None:
        self.root, self.download = root, download
        self.train_views, self.query_views = train_views, query_views

    def load(self) -> Images:
        """The training images, then the test images, as uint8 [60000, 3, 32, 32]."""
        return load_pool("cifar10", datasets.CIFAR10, self.root, self.download)

"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in 10 classes (Krizhevsky 2009)."""

from torchvision import datasets

from lpla.contracts.inputs import Dataset, Images, Views
from lpla.data.dataset._torchvision import Source, load_pool, read_cifar

SOURCE = Source(
    name="cifar10",
    place=datasets.CIFAR10.base_folder,
    url=datasets.CIFAR10.url,
    counts={"train": 50_000, "test": 10_000},
    shape=(3, 32, 32),
    read=read_cifar(datasets.CIFAR10),
)


class CIFAR10(Dataset):
    """torchvision's loader, with its checksums."""

    def __init__(self, *, root: str, download: bool, part: str, train_views: Views, query_views: Views) -> None:
        self.root, self.download, self.part = root, download, part
        self.train_views, self.query_views = train_views, query_views

    def load(self) -> Images:
        """The training images, then (part=pooled) the test images, as uint8 [N, 3, 32, 32]."""
        return load_pool(SOURCE, self.root, self.download, self.part)

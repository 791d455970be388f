"""Fashion-MNIST: 70,000 grey images of 28 x 28 pixels in 10 kinds of clothes (Xiao, Rasul & Vollgraf 2017)."""

from pathlib import Path

from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from lpla.contracts.inputs import Dataset, Images, Views
from lpla.data.dataset._torchvision import Part, Source, load_pool


def _read(root: str, part: str, download: bool) -> Part:
    # Upstream has checksums of the archives alone, and torchvision tests them only when it downloads.
    for name, md5 in datasets.FashionMNIST.resources:
        archive = Path(root) / "FashionMNIST" / "raw" / name
        if archive.exists() and not check_integrity(archive, md5):
            raise RuntimeError(f"{archive} fails its checksum")
    found = datasets.FashionMNIST(root, train=part == "train", download=download)
    return found.data.unsqueeze(1).numpy(), found.targets.numpy()


SOURCE = Source(
    name="fashion_mnist",
    place="FashionMNIST",
    url=datasets.FashionMNIST.mirrors[0],
    counts={"train": 60_000, "test": 10_000},
    shape=(1, 28, 28),
    read=_read,
)


class FashionMNIST(Dataset):
    """torchvision's loader; the checksums are those of the archives, where they still lie beside the files."""

    def __init__(self, *, root: str, download: bool, part: str, train_views: Views, query_views: Views) -> None:
        self.root, self.download, self.part = root, download, part
        self.train_views, self.query_views = train_views, query_views

    def load(self) -> Images:
        """The training images, then (part=pooled) the test images, as uint8 [N, 1, 28, 28]."""
        return load_pool(SOURCE, self.root, self.download, self.part)

"""Pool the train and test parts of a torchvision data set into one Images, with torchvision's own checksums."""

from pathlib import Path

import numpy as np
import torch
from torchvision.datasets import CIFAR10

from lpla.contracts import Images, InputError


def load_pool(name: str, source: type[CIFAR10], root: str, download: bool) -> Images:
    """Training images, then test images; raises InputError with the remedy if the files are absent or damaged."""
    folder = Path(root).expanduser() / source.base_folder
    if not folder.is_dir() and not download:
        raise InputError(
            f"dataset={name} needs the folder {source.base_folder} in data.root, but {folder} does not exist; "
            f"set data.root to the folder that holds it, or data.download=true to fetch it from {source.url}"
        )
    try:
        parts = [source(str(folder.parent), train=train, download=download) for train in (True, False)]
    except RuntimeError as damaged:
        remedy = "delete that folder and get it again (data.download=true)"
        raise InputError(f"dataset={name}: the files in {folder} fail torchvision's checksums; {remedy}") from damaged
    pixels = np.concatenate([part.data for part in parts]).transpose(0, 3, 1, 2)
    labels = np.concatenate([np.asarray(part.targets) for part in parts])
    return Images(name, torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels).long())

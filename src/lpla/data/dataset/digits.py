"""Handwritten digits: 1,797 scans of 8 x 8 pixels in 17 grey levels, part of scikit-learn (Alpaydin & Kaynak)."""

import torch
from sklearn.datasets import load_digits

from lpla.contracts.inputs import Dataset, Images


class Digits(Dataset):
    """The embedded default: real scans, no download."""

    def load(self) -> Images:
        """Load all 1,797 scans as uint8 [1797, 1, 8, 8], grey level g as round(255 g / 16)."""
        grey, labels = load_digits(return_X_y=True)
        pixels = torch.from_numpy(grey).mul(255 / 16).round().to(torch.uint8)
        return Images("digits", pixels.view(-1, 1, 8, 8), torch.from_numpy(labels).long())

"""Lightly's own path, as its examples go: PIL images, a transform per view, a DataLoader, a forward per view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import UInt8
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.transforms.simclr_transform import SimCLRTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.encoder import SIDE

TRANSFORM = SimCLRTransform(input_size=SIDE, cj_strength=0.5, gaussian_blur=0.0)
"""Two views; `TRANSFORM.transforms[0]` is one."""


class PilImages:
    """Images in memory, decoded; an item is the transformed image and its label, as torchvision's data sets have it."""

    def __init__(self, pixels: UInt8[Tensor, "N C H W"], transform: Callable[..., Any]) -> None:
        self.images, self.transform = to_pil(pixels), transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int) -> tuple[Any, int]:
        return self.transform(self.images[item]), 0


def to_pil(pixels: UInt8[Tensor, "N C H W"]) -> list[Image.Image]:
    """One PIL image per row."""
    return [Image.fromarray(image) for image in pixels.permute(0, 2, 3, 1).numpy()]


def loader(pixels: UInt8[Tensor, "N C H W"], transform: Callable[..., Any], batch: int, workers: int) -> DataLoader:
    """Whole batches of the views that `transform` makes, shuffled."""
    dataset: Any = LightlyDataset.from_torch_dataset(PilImages(pixels, transform))  # pyright: ignore[reportArgumentType]
    pinned = torch.cuda.is_available()
    return DataLoader(dataset, batch, shuffle=True, drop_last=True, num_workers=workers, pin_memory=pinned)


def training_step(
    network: nn.Module, criterion: NTXentLoss, optimizer: torch.optim.Optimizer, views: Sequence[Tensor]
) -> None:
    """Two forwards, the loss and a step."""
    first, second = (network(view) for view in views)
    loss = criterion(first, second)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

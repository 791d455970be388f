"""The members' pixels in training: resident on the device where they fit, else streamed batch by batch."""

from __future__ import annotations

import numpy as np
import psutil
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

SHARE = 0.5
"""Part of the device's free memory that members may take; networks and views need the rest."""


class Members(nn.Module):
    """Positions -> pixels and data-set indices, on the device; the same bits whether resident or streamed."""

    index: Tensor
    pixels: Tensor | None

    def __init__(self, pixels: UInt8[Tensor, "M C H W"], index: Int[np.ndarray, " N"], resident: bool) -> None:
        """`pixels` are the whole data set's, in memory or a memory map; `index` names the members among them."""
        super().__init__()
        rows = torch.from_numpy(np.ascontiguousarray(index))
        self.register_buffer("index", rows, persistent=False)
        self.register_buffer("pixels", pixels[rows] if resident else None, persistent=False)
        # In a tuple, which the module does not move to the device.
        self._source = (pixels, rows)

    def __len__(self) -> int:
        return len(self.index)

    def forward(
        self, positions: Int[Tensor, " B"], device: torch.device
    ) -> tuple[UInt8[Tensor, "B C H W"], Int[Tensor, " B"]]:
        """A batch by its positions among the members (on the host)."""
        there = positions.to(device, non_blocking=True)
        if self.pixels is not None:
            return self.pixels[there], self.index[there]
        pixels, rows = self._source
        batch = pixels[rows[positions]]
        if device.type == "cuda":
            batch = batch.pin_memory()
        return batch.to(device, non_blocking=True), self.index[there]


def fits(pixels: UInt8[Tensor, "M C H W"], members: int, device: torch.device) -> bool:
    """Check whether a copy of the members takes at most SHARE of the memory that is free on the device.

    Args:
        pixels: The images of the data set.
        members: Number of images to copy.
        device: The device.

    Returns:
        True if it does.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return members * pixels[0].numel() <= SHARE * free

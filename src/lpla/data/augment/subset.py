"""Execute an operation on the chosen samples of a batch alone.

Source: torch's note on CUDA semantics: the number of chosen samples is known to the host only after a synchronisation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float32
from torch import Tensor


def on_chosen(
    operation: Callable[[Tensor, Tensor], Tensor],
    pixels: Float32[Tensor, "B C H W"],
    parameter: Float32[Tensor, " B"],
    chosen: Bool[Tensor, " B"],
) -> Float32[Tensor, "B C H W"]:
    """`operation(pixels, parameter)` where `chosen`, and the pixels unchanged elsewhere."""
    if pixels.device.type == "cpu":
        index = chosen.nonzero().squeeze(1)
        return pixels.index_copy(0, index, operation(pixels[index], parameter[index]))
    # On an accelerator computing all of them costs less than waiting for the count of the chosen.
    return torch.where(chosen[:, None, None, None], operation(pixels, parameter), pixels)

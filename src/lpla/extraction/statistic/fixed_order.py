"""A sum whose bits depend on its own elements alone: the norms and dot products of every statistic.

torch's `sum`, `pow` and matrix products round differently according to where an element lies in the batch (measured,
2.14 on a CPU); element-wise operations do not.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FIXED_ORDER_VERSION = 1
"""Raise it when a change here changes the statistics."""


def sum_in_fixed_order(x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
    """Sum over the last axis by folding it in half until one element is left."""
    while (width := x.shape[-1]) > 1:
        half = width // 2
        folded = x[..., :half] + x[..., half : 2 * half]
        x = torch.cat([folded, x[..., 2 * half :]], dim=-1) if width % 2 else folded
    return x.squeeze(-1)

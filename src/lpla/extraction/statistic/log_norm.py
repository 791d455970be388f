"""Log of the power-mean p-norm of every view, all p at once: the statistic of LpLA (arXiv 2506.05743).

A view's bits depend on nothing but that view: powers are made of `exp` and `log`, sums have a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.evidence import Statistic
from lpla.contracts.inputs import InputError

FIXED_ORDER_VERSION = 1
"""Raise it when a change here changes the statistics."""


def sum_in_fixed_order(x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
    """Sum over the last axis by folding it in half until one element is left: the bits depend on its elements alone.

    torch's `sum`, `pow` and matrix products round differently according to where an element lies in the batch
    (measured, 2.14 on a CPU); element-wise operations do not.
    """
    while (width := x.shape[-1]) > 1:
        half = width // 2
        folded = x[..., :half] + x[..., half : 2 * half]
        x = torch.cat([folded, x[..., 2 * half :]], dim=-1) if width % 2 else folded
    return x.squeeze(-1)


def valid_p(p: object) -> float:
    """`p` as a float, if it is one for which the statistic exists."""
    if isinstance(p, bool) or not isinstance(p, Real) or not float(p) > 0:
        raise InputError(f"p must be a number > 0 or inf, got {p!r}")
    return float(p)


def count_unusable(values: Float[np.ndarray, "N Q P"]) -> tuple[int, int]:
    """Count views with a zero embedding (s = -inf) and views with a non-finite one (s = nan)."""
    if np.isfinite(values).all():
        return 0, 0
    return int(np.isneginf(values).any(axis=-1).sum()), int(np.isnan(values).any(axis=-1).sum())


@dataclass(frozen=True)
class LogNorm(Statistic):
    """Keeps the logarithm of the norms of each view's embedding.

    s = log ||e||_p - (log D)/p for each p of `ps`, in float64; a zero vector gives -inf, a non-finite one nan.
    """

    name: ClassVar[str] = "log_norm"
    ps: Sequence[float]
    """Kept as a tuple, so that a statistic can be compared and hashed."""

    def __post_init__(self) -> None:
        ps: Iterable[object] = self.ps
        object.__setattr__(self, "ps", tuple(valid_p(p) for p in ps))
        if not self.ps:
            raise InputError("ps must hold at least one number > 0 or inf, got none")

    def __call__(self, embeddings: Float[Tensor, "B Q D"]) -> Float[Tensor, "B Q P"]:
        """Log-norms of every view, in the order of `ps`."""
        magnitude = embeddings.to(torch.float64).abs()
        largest = magnitude.amax(dim=-1)
        usable = largest.isfinite()
        scale = torch.where(usable & (largest > 0), largest, 1.0)
        log_ratio = (magnitude / scale.unsqueeze(-1)).log()
        log_norms = [largest.log() if math.isinf(p) else largest.log() + _log_mean_power(log_ratio, p) for p in self.ps]
        return torch.where(usable.unsqueeze(-1), torch.stack(log_norms, dim=-1), torch.nan)

    def prefix(self, values: Float[np.ndarray, "N Q P"], queries: int) -> Float[np.ndarray, "N q P"]:
        """Return the values of the first views alone, as no value depends on other views."""
        return values[:, :queries]


def _log_mean_power(log_ratio: Float[Tensor, "B Q D"], p: float) -> Float[Tensor, "B Q"]:
    """(1/p) log mean_j ratio_j^p, the ratios given by their logarithms."""
    return (sum_in_fixed_order((p * log_ratio).exp()) / log_ratio.shape[-1]).log() / p

"""Cosine similarity of every pair of views of an image: the statistic of EncoderMI (Liu et al., arXiv 2108.11023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from lpla.contracts.evidence import Statistic
from lpla.contracts.inputs import UndefinedError
from lpla.extraction.statistic.log_norm import sum_in_fixed_order


@dataclass(frozen=True)
class Cosine(Statistic):
    """Keeps the cosine of every pair of views.

    Pairs (i, j), i < j, ordered by j, then by i: those of the first views come first.

    A pair with a zero or a non-finite embedding has no cosine: nan. The bits of an image depend on it alone.
    """

    name: ClassVar[str] = "cosine"

    def __call__(self, embeddings: Float[Tensor, "B Q D"]) -> Float32[Tensor, "B Q*(Q-1)//2"]:
        """All pairs, computed in double precision."""
        wide = embeddings.to(torch.float64)
        largest = wide.abs().amax(dim=-1, keepdim=True)
        # Scaled first, so that no square leaves the number range.
        scaled = wide / torch.where(largest.isfinite() & (largest > 0), largest, torch.nan)
        unit = scaled / sum_in_fixed_order(scaled * scaled).sqrt().unsqueeze(-1)
        pairs = [sum_in_fixed_order(unit[:, :j] * unit[:, j : j + 1]) for j in range(unit.shape[1])]
        return torch.cat(pairs, dim=1).float()

    def prefix(self, values: Float[np.ndarray, "N P"], queries: int) -> Float[np.ndarray, "N p"]:
        """Return the pairs among the first views; raises UndefinedError if there is none."""
        if queries < 2:
            raise UndefinedError(f"pairwise cosines need queries >= 2, got {queries}")
        return values[:, : queries * (queries - 1) // 2]

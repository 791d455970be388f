"""How evenly small parts of an image agree with its positions: PartCrop's energies (Zhu et al., arXiv 2404.02462)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import InputError, Views
from lpla.contracts.streams import stream
from lpla.extraction.statistic.log_norm import sum_in_fixed_order

LARGE = 64
"""Side in pixels from which a part's size is a quarter of the image's, not half of it."""


@dataclass(frozen=True)
class PartEnergy(Statistic):
    """KL(U || softmax_j <part_i, position_j>) of every part, sorted, then KL(G || the same), sorted.

    U is uniform over the positions; G is the normal density of N(0, 1) draws in ascending order, normalised over the
    positions in the order of rows. The paper's code draws G anew for every batch, so that an image's energies depend
    on its company; here `seed` draws it once for all images. The bits of an image depend on it alone.
    """

    name: ClassVar[str] = "part_energy"
    layers: ClassVar[tuple[str, ...]] = ("backbone",)
    parts: int
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.parts, bool) or not isinstance(self.parts, int) or self.parts < 1:
            raise InputError(f"attack.parts must be an integer >= 1, got {self.parts}")

    def query(self, full_query: Query, side: int) -> Query:
        """The positions of the clean image and `parts` small crops, whatever number of queries the audit asks for."""
        size = side // (4 if side >= LARGE else 2)
        views = Views(crop_scale=(0.08, 0.2), crop_ratio=(3 / 4, 4 / 3), flip=0.5, size=size)
        return Query(views, 1 + self.parts, full_query.seed, positions=True)

    def __call__(self, embeddings: Float[Tensor, "B P D"]) -> Float32[Tensor, "B 2*{self.parts}"]:
        """Both energies of all parts, in double precision; a part that is not finite has none: nan, sorted last."""
        wide = embeddings.to(torch.float64)
        positions, parts = wide[:, : -self.parts], wide[:, -self.parts :]
        # Part by part: all products at once would be parts x positions x D numbers per image.
        products = [sum_in_fixed_order(positions * parts[:, i : i + 1]) for i in range(self.parts)]
        logits = torch.stack(products, dim=1)
        centred = logits - logits.amax(dim=2, keepdim=True)
        log_softmax = centred - sum_in_fixed_order(centred.exp()).log().unsqueeze(2)
        energies = [_divergence(p, log_softmax).sort(dim=1).values for p in self._references(positions.shape[1])]
        return torch.cat(energies, dim=1).float()

    def prefix(self, values: Float[np.ndarray, "N E"], queries: int) -> Float[np.ndarray, "N E"]:
        """Return all values, which do not depend on the audit's queries: the budget is 1 + parts."""
        return values

    def _references(self, positions: int) -> tuple[np.ndarray, np.ndarray]:
        """U and G over so many positions."""
        draws = np.sort(stream("standard normal draws", self.seed).standard_normal(positions))
        density = np.exp(-(draws**2) / 2)
        return np.full(positions, 1 / positions), density / density.sum()


def _divergence(p: Float[np.ndarray, " T"], log_q: Float[Tensor, "B P T"]) -> Float[Tensor, "B P"]:
    """KL(p || q) = sum_j p_j (log p_j - log q_j), each log q given."""
    weight = torch.from_numpy(p).to(log_q.device)
    return sum_in_fixed_order(weight * (weight.log() - log_q))

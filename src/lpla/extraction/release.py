"""What is released of an encoder's embeddings: a defence, its secret, and what it learnt from images of nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.encoder import Encoder
from lpla.contracts.evidence import Query
from lpla.encoders import ranks
from lpla.extraction.query import FORWARD, answers, made


@dataclass(frozen=True)
class Release:
    """The release of one encoder; the default releases embeddings as they are."""

    defense: Defense = field(default_factory=Defense)
    secret: int = 0
    """Secret of this encoder alone."""
    outside: Int[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Data-set indices of the images that are nobody's members, from which the defence learns."""
    fitted: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """What the defence has learnt, by layer; empty before."""

    def __call__(self, layer: str, embedding: Float[Tensor, "V D"], index: Int[Tensor, " B"]) -> Float[Tensor, "V _E"]:
        """Return what is released of the views of the images `index`, view-major."""
        views = len(embedding) // len(index)
        number = torch.arange(views).repeat_interleave(len(index))
        asked = Asked(layer, index.repeat(views), number, self.secret, self.fitted.get(layer, {}))
        return self.defense.release(embedding, asked)

    def learnt(
        self,
        encoder: Encoder,
        pixels: UInt8[Tensor, "M C H W"],
        query: Query,
        device: torch.device,
        bfloat16: bool = False,
    ) -> Release:
        """Return the release that has learnt from the encoder's embeddings of the images that are nobody's members.

        Args:
            encoder: in evaluation mode, on its device.
            pixels: of the whole data set.
            query: what is asked for; of a map every position counts as an embedding.
            device: the encoder's.
            bfloat16: whether it answers in that precision.
        """
        if type(self.defense).fit is Defense.fit or self.fitted or not len(self.outside):
            return self
        clean = replace(query, queries=1)
        found: dict[str, list[Tensor]] = {}
        for part in torch.from_numpy(self.outside).split(FORWARD[device.type]):
            shown = made(pixels[part].to(device), part.to(device), clean)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                answered = answers(encoder, shown, clean, pixels.shape[-1])
            for layer, one in answered.items():
                found.setdefault(layer, []).append(one.float())
        fitted = {layer: self.defense.fit(_finite(torch.cat(parts))) for layer, parts in found.items()}
        on_cpu = {layer: {name: one.cpu() for name, one in values.items()} for layer, values in fitted.items()}
        # All ranks have the same bits.
        of_all = ranks.from_first(on_cpu)
        return replace(self, fitted={n: {k: v.to(device) for k, v in values.items()} for n, values in of_all.items()})


def _finite(embeddings: Float[Tensor, "N D"]) -> Float[Tensor, "n D"]:
    """Keep the embeddings that a fit can use."""
    return embeddings[embeddings.isfinite().all(dim=1)]

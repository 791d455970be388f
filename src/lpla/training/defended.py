"""What a training under a defence has beside its members: the defence, images of nobody, a student's teacher."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from lpla.contracts.defense import Defense, Embeddings
from lpla.contracts.encoder import Arch, Encoder
from lpla.data.augment.apply import clean
from lpla.encoders import ranks

AT_ONCE = 256
"""Images that are embedded together for a score."""


@dataclass(frozen=True)
class Defended:
    """The default is a training without one."""

    defense: Defense = field(default_factory=Defense)
    pixels: UInt8[Tensor, "N C H W"] | None = None
    """Pixels of the images that are nobody's members; None: the defence needs none in training."""
    labels: Int[Tensor, " N"] | None = None
    teacher: Encoder | None = None
    """In evaluation mode; None: the encoder is no student."""

    def score(self, arch: Arch, device: torch.device) -> float | None:
        """Return the defence's score of the encoder as it is, the same on all ranks; None: it takes none."""
        if self.pixels is None or self.labels is None:
            return None
        pixels, labels = self.pixels, self.labels

        def encode() -> Embeddings:
            with _evaluated(arch), torch.inference_mode():
                found = [arch.encode(clean(part.to(device))) for part in pixels.split(AT_ONCE)]
            return {layer: torch.cat([one[layer].float().cpu() for one in found]) for layer in found[0]}

        return ranks.from_first(self.defense.score(encode, labels))


PLAIN = Defended()
"""A training without a defence."""


@contextmanager
def _evaluated(arch: Arch) -> Iterator[None]:
    """Have the framework in evaluation mode for a while."""
    arch.eval()
    try:
        yield
    finally:
        arch.train()

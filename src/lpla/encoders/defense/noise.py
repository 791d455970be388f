"""Add noise that is the same for every query of an image, so that queries do not average it away (ours)."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from lpla.contracts.defense import Asked, Defense
from lpla.contracts.settings import NonNegative, checked
from lpla.encoders.defense._noise import noisy


@checked
class Noise(Defense):
    """Releases an embedding plus `sigma` times its length times noise of an expected squared length of 1.

    The noise is drawn by the owner's secret and the image, whichever view of it is asked about: the owner knows an
    image behind its views, which is the best that such a defence can do. Where each view passes for an image of its own
    the noise is that of `noise_fresh`.
    """

    release_arguments: ClassVar[frozenset[str]] = frozenset({"sigma"})

    def __init__(self, *, sigma: NonNegative = 0.1) -> None:
        self.sigma = sigma

    def release(self, embedding: Float[Tensor, "B D"], asked: Asked) -> Float[Tensor, "B D"]:
        """Return the noisy embedding."""
        return noisy(embedding, self.sigma, asked.layer, asked.secret, asked.image[:, None])

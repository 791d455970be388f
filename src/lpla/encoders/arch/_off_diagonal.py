"""What stands off the diagonal of a matrix, without a mask: a GPU would have to report how many entries it chooses."""

from jaxtyping import Float
from torch import Tensor

OFF_DIAGONAL_VERSION = 1
"""Raise it when a change here changes the weights."""


def off_diagonal(square: Float[Tensor, "B B"]) -> Float[Tensor, "B B-1"]:
    """Each row's other entries, in their order: after the first, the diagonal is every (B + 1)-th entry in memory."""
    side = len(square)
    return square.flatten()[1:].view(side - 1, side + 1)[:, :-1].reshape(side, side - 1)

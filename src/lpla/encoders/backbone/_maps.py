"""Which map of a residual network still tells where in an image something is."""

from lpla.contracts.inputs import UndefinedError

MAPS_VERSION = 1
"""Raise it when a change here changes the positions."""
STAGES = 4


def stages_with_positions(side: int, stem: int) -> int:
    """How many stages in a row, from the first, make maps of more than one position of images of `side` pixels.

    The stem divides the side by `stem`, the first stage keeps it, each later one halves it; all round up.
    """
    count = sum(side > stem * 2**stage for stage in range(STAGES))
    if not count:
        needs = f"a map of more than one position needs images of at least {stem + 1} pixels under this backbone"
        raise UndefinedError(f"{needs}, got {side}")
    return count

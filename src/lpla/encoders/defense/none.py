"""No defense: the encoder is trained and released as it is."""

from lpla.contracts.defense import Defense


class Identity(Defense):
    """Changes nothing."""

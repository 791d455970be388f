"""What a framework must know of a vision transformer: its tokens, and the LayerNorm that its heads want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from lpla.contracts.encoder import Backbone

if TYPE_CHECKING:
    from lightly.models.modules import MaskedVisionTransformerTIMM

NECK_VERSION = 1
"""Raise it when a change here changes the weights."""


def transformer(backbone: Backbone) -> MaskedVisionTransformerTIMM | None:
    """The transformer within a backbone; None if it is a convolutional network."""
    from lightly.models.modules import MaskedVisionTransformerTIMM

    net = getattr(backbone, "net", None)
    return net if isinstance(net, MaskedVisionTransformerTIMM) else None


def neck(backbone: Backbone) -> nn.Module:
    """What stands between the released feature and the heads: a transformer's final LayerNorm, otherwise nothing."""
    return nn.Identity() if transformer(backbone) is None else nn.LayerNorm(backbone.features, eps=1e-6)

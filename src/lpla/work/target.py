"""A given target as an audit builds it, with the store's answers where it asks; and what stands in for its twin."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lpla.contracts.encoder import Encoder, Target
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images
from lpla.extraction.sent import of_each_view
from lpla.store.answers import Answers
from lpla.work.plug_in import Config, plug_in

STAND_IN: Config = {"_target_": "lpla.encoders.backbone.cifar_resnet.CifarResNet", "depth": 18}
"""The backbone of the random encoder in place of an architecture that cannot be rebuilt."""
STAND_IN_WIDTH = 128


def target_of(config: Config) -> Target:
    """Build a target; one that asks a service keeps the answers in the store that its settings name."""
    made: Target = plug_in(config)
    asked = made.asks()
    return made if asked is None else made.keeping(Answers(config["store"], asked))


def digests_of_views(target: Config, images: Images, index: tuple[int, ...], query: Query) -> Int64[np.ndarray, "N Q"]:
    """Digest the bytes that a target is sent in place of some views, which are made for it.

    Args:
        target: The target's settings; it must be one that is sent bytes.
        images: The data set.
        index: Indices of the images.
        query: What is asked for.

    Returns:
        A digest of each view; it is kept for other jobs of this process.
    """
    return _digests_of_views(json.dumps(target, sort_keys=True), images, index, query)


@lru_cache(maxsize=16)
def _digests_of_views(target: str, images: Images, index: tuple[int, ...], query: Query) -> Int64[np.ndarray, "N Q"]:
    encoder = target_of(json.loads(target)).build()
    return of_each_view(images, index, query, encoder.digests)


class StandIn(Encoder):
    """A residual network of ours with random weights, and behind it a random projection for each further layer."""

    def __init__(self, layers: tuple[str, ...], channels: int) -> None:
        super().__init__()
        self.layers = layers
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.backbone: Any = plug_in(STAND_IN, partial=True)(channels)
            heads = {one: nn.Linear(self.backbone.features, STAND_IN_WIDTH) for one in layers[1:]}
            self.heads = nn.ModuleDict(heads)
        self.eval()

    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """As of every encoder."""
        first, *_ = self.layers
        found = self.backbone(x)
        return {first: found} | {name: head(found) for name, head in self.heads.items()}

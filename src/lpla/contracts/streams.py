"""Named random streams: every purpose draws from a stream of its own. Imports numpy alone, as reports draw too."""

from __future__ import annotations

import hashlib

import numpy as np

STREAMS: dict[str, tuple[int, ...]] = {
    "batches": (),
    "held-out images": (),
    "mixture sample": (),
    "resamples": (),
    "standard normal draws": (),
    "whitening sample": (),
    "pool": (0,),
    "target": (1,),
    "shadows": (2,),
    "utility": (3,),
    "known non-members": (4,),
    "labels": (5,),
    "transform check": (6,),
}
"""The numbers by which the first edition's streams are told apart, kept so that no bit changes. Any other name has
numbers of its own. Numpy pads with zeros: `pool` is the stream of the seed alone."""


def stream(name: str, seed: int, *more: int) -> np.random.Generator:
    """Make the random stream of a purpose.

    Args:
        name: the purpose; two names never share a stream, but for those of `STREAMS`.
        seed: of the audit, the encoder or the plug-in.
        more: integers >= 0 that tell streams of one purpose apart (a pair, an epoch, a permutation).

    Returns:
        numpy's generator, the same for the same arguments.
    """
    return np.random.default_rng(stream_seed(name, seed, *more))


def stream_seed(name: str, seed: int, *more: int) -> list[int]:
    """List the integers that seed `stream`.

    Args:
        name: the purpose, as of `stream`.
        seed: of the audit, the encoder or the plug-in.
        more: integers that tell streams of one purpose apart.

    Returns:
        The integers, for a function that takes a seed and draws from its beginning every time.
    """
    if name in STREAMS:
        return [seed, *STREAMS[name], *more]
    # Four words fill numpy's pool: what follows is never mistaken for its padding.
    words = hashlib.sha256(name.encode()).digest()
    return [seed, *(int.from_bytes(words[i : i + 4]) for i in range(0, 16, 4)), *more]

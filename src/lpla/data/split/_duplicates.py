"""Near-duplicates: from every group of images that are copies of one another, at most one may enter a pool.

Then no image of the pool has a twin on the other side of any encoder's split, and every layout stays what it is.
Two images are copies if their bytes are equal, or if all three of these hold: at most FAR of the 64 bits of their look
differ; their pixels, each image's mean brightness taken away, differ by at most DIFFERENCE grey levels on average; and
by less than SHARE of the images' own contrast, so that flat images are no copies of each other. Chosen by eye on
CIFAR-100 (53 of the 55 pairs within these bounds show one photograph) and such that no two scans of `digits` pass.
It finds copies, not kindred pictures: at 32 pixels 95 % of those brighter by 20 levels, 87 % of JPEGs of quality 75 and
86 % of those that lost half a pixel at each side, but 12 % at a whole pixel, and none that were mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from lpla.contracts.inputs import Images
from lpla.data.split._hashes import content_groups, look_hashes

FAR = 6
DIFFERENCE = 8.0
SHARE = 0.5
NearDuplicates = Literal["keep_together", "ignore"]
"""What a split does with them."""
BLOCK = 4096

_FOUND: dict[str, Int[np.ndarray, " N"]] = {}
"""Groups by content: the jobs of a sweep draw from the same images again and again."""


@dataclass(frozen=True)
class Eligible:
    """Which images may enter a pool, in the order in which they would."""

    order: Int[np.ndarray, " E"]
    aside: Int[np.ndarray, " A"]
    """The others, ascending: each is a near-duplicate of an eligible one."""
    groups: int | None
    """How many groups of near-duplicates there are; None if they were not looked for."""

    def of(self, images: Images) -> str:
        """What a limit is a part of, in words."""
        if not len(self.aside):
            return f"the {len(images)} images of {images.name}"
        return f"the {len(self.order)} images of {images.name} that are left without {len(self.aside)} near-duplicates"


def eligible(images: Images, order: Int[np.ndarray, " N"], rule: NearDuplicates) -> Eligible:
    """The first of every group in the drawn order stands for it, the others are set aside; `ignore` keeps all."""
    if rule == "ignore":
        return Eligible(order, order[:0], None)
    group = duplicate_groups(images)
    first = np.sort(np.unique(group[order], return_index=True)[1])
    sizes = np.bincount(group)
    return Eligible(order[first], np.sort(np.delete(order, first)), int((sizes > 1).sum()))


def duplicate_groups(images: Images) -> Int[np.ndarray, " N"]:
    """For every image the smallest index of its group, its own if it has no copy; found once per process."""
    if images.digest not in _FOUND:
        _FOUND[images.digest] = _find(images.pixels)
    return _FOUND[images.digest]


def _find(pixels: UInt8[Tensor, "N C H W"]) -> Int[np.ndarray, " N"]:
    group = content_groups(pixels)
    distinct = np.unique(group)
    # Only pairs that are not yet in one group are compared: a film's stills are as cheap as a few copies.
    for first, second in _similar(look_hashes(pixels)[distinct]):
        pairs = np.stack([distinct[first], distinct[second]])
        pairs = pairs[:, group[pairs[0]] != group[pairs[1]]]
        for start in range(0, pairs.shape[1], BLOCK):
            block = pairs[:, start : start + BLOCK]
            copies = block[:, _are_copies(pixels, *block)]
            if copies.size:
                group = _merged(group, copies)
    return group


def _similar(look: UInt64[np.ndarray, " M"]) -> Iterator[tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"]]]:
    """Positions of pairs that differ in at most FAR bits: of FAR + 1 bands of bits at least one is equal in both."""
    edges = np.linspace(0, 64, FAR + 2).astype(int)
    for low, high in pairwise(edges):
        band = (look >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(band, kind="stable")
        band, bits = band[order], look[order]
        start = np.arange(len(look))
        for lag in range(1, len(look)):
            start = start[start < len(look) - lag]
            start = start[band[start] == band[start + lag]]
            if not len(start):
                break
            near = start[np.bitwise_count(bits[start] ^ bits[start + lag]) <= FAR]
            if len(near):
                yield order[near], order[near + lag]


def _are_copies(
    pixels: UInt8[Tensor, "N C H W"], first: Int[np.ndarray, " P"], second: Int[np.ndarray, " P"]
) -> Bool[np.ndarray, " P"]:
    one, other = (pixels[part].numpy().reshape(len(part), -1).astype(np.float32) for part in (first, second))
    one -= one.mean(axis=1, keepdims=True)
    other -= other.mean(axis=1, keepdims=True)
    difference = np.abs(one - other).mean(axis=1)
    contrast = (np.abs(one).mean(axis=1) + np.abs(other).mean(axis=1)) / 2
    return (difference <= DIFFERENCE) & (difference < SHARE * contrast)


def _merged(group: Int[np.ndarray, " N"], pairs: Int[np.ndarray, "2 P"]) -> Int[np.ndarray, " N"]:
    count = len(group)
    links = np.concatenate([pairs, np.stack([np.arange(count), group])], axis=1)
    _, label = connected_components(coo_array((np.ones(links.shape[1]), tuple(links)), shape=(count, count)), False)
    # Named by their smallest index again.
    return np.unique(label, return_index=True)[1][label]

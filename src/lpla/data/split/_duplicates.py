"""Near-duplicates: from every group of images that are copies of one another, at most one may enter a pool.

Then no image of the pool has a twin on the other side of any encoder's split, and every layout stays what it is.
Two images are copies if their bytes are equal, or if all three of these hold for the one and the other or its mirror
image: at most FAR of the 64 bits of their look differ; their pixels, each image's mean brightness taken away, differ by
at most DIFFERENCE grey levels on average; and by less than SHARE of the images' own contrast, so that flat images are
no copies of each other. The last two may also hold once both have the geometric mean of their contrasts. Chosen by eye
on CIFAR-100 and such that no two scans of `digits` pass: of 68 pairs that contrast and mirror add, three show two
things (lamps, cups). Images whose deviation is below BLANK are compared by their bytes alone.
It finds copies, not kindred pictures. At 32 pixels, of 2,000 photographs: all that were mirrored, made darker or lost
up to 40 % of their contrast; 99 % of those brighter by 20 levels, 67 % of those brighter by 30 % (white is cut off),
88 % of JPEGs of quality 75; but 6 % of those moved by a whole pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8, UInt64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from lpla.contracts.inputs import Images, InputError
from lpla.data.split._hashes import content_groups, look_hashes, pieces

FAR = 6
DIFFERENCE = 8.0
SHARE = 0.5
NearDuplicates = Literal["keep_together", "ignore"]
"""What a split does with them."""
BLOCK = 4096
CROWD = 64
BLANK = 2.0
"""Grey levels."""

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

    def checked_members(self, images: Images, members: int | None, parts: int) -> int:
        """Return `members` where the eligible images have `parts` times as many, and are not the user's to divide.

        Raises InputError, one sentence, otherwise.
        """
        if images.lists is not None:
            raise InputError(f"dataset={images.name} says who is a member, so that split must be given")
        limit = len(self.order) // parts
        if members is None or not 2 <= members <= limit:
            part = {2: "half", 4: "a quarter"}[parts]
            whole = f"the {len(self.order)} images of {images.name}"
            left = f" that are left without {len(self.aside)} near-duplicates" if len(self.aside) else ""
            if limit < 2:
                wanted = max(members or 0, 2)
                held = f"{images.name} has {len(self.order)}{left}"
                raise InputError(f"members={wanted} needs {parts * wanted} images; {held}")
            got = "null, by which split=given alone takes all" if members is None else members
            raise InputError(f"members must be at least 2 and at most {limit}, {part} of {whole}{left}, got {got}")
        return members


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
    # Of pictures that are nearly blank there is nothing to compare but the bytes, and many may look the same.
    distinct = distinct[_deviations(pixels)[distinct] >= BLANK]
    look, mirrored = look_hashes(pixels)[:, distinct]
    for other, mirror in ((look, False), (mirrored, True)):
        # Only pairs that are not yet in one group are compared: a film's stills are as cheap as a few copies.
        for pairs in map(distinct.__getitem__, _similar(look, other)):
            pairs = pairs[:, group[pairs[0]] != group[pairs[1]]]
            for start in range(0, pairs.shape[1], BLOCK):
                block = pairs[:, start : start + BLOCK]
                copies = block[:, _are_copies(pixels, *block, mirror)]
                if copies.size:
                    group = _merged(group, copies)
    return group


def _deviations(pixels: UInt8[Tensor, "N C H W"]) -> Float[np.ndarray, " N"]:
    """Largest standard deviation within a channel of each image, in grey levels."""
    return np.concatenate([piece.std(axis=(2, 3), dtype=np.float32).max(axis=1) for _, piece in pieces(pixels)])


def _similar(look: UInt64[np.ndarray, " M"], other: UInt64[np.ndarray, " M"]) -> Iterator[Int[np.ndarray, "2 P"]]:
    """Positions i < j of pairs of which `look[i]` and `other[j]` differ in at most FAR bits, each pair once.

    Of FAR + 1 bands of bits at least one is equal in both. An image that looks like more than CROWD others is paired
    with CROWD of them alone, so that a crowd costs no more than its number.
    """
    count, here = len(look), np.arange(len(look))
    met = np.zeros(count, dtype=np.int64)
    edges = np.linspace(0, 64, FAR + 2).astype(int)
    masks = [np.uint64(2**high - 2**low) for low, high in pairwise(edges)]
    for number, mask in enumerate(masks):
        rank = np.unique(np.concatenate([look & mask, other & mask]), return_inverse=True)[1].reshape(2, count)
        # By band, and within a band by position, so that those behind an image are in one piece.
        order = np.argsort(rank[1], kind="stable")
        place = rank[1][order] * count + order
        start = np.searchsorted(place, rank[0] * count + here, side="right")
        end = np.searchsorted(place, (rank[0] + 1) * count)
        one = here
        for lag in range(count):
            one = one[(start[one] + lag < end[one]) & (met[one] < CROWD)]
            if not len(one):
                break
            two = order[start[one] + lag]
            differ = look[one] ^ other[two]
            near = np.bitwise_count(differ) <= FAR
            if near.any():
                # A pair that is equal in an earlier band was met there.
                near &= np.all([differ & earlier for earlier in masks[:number]], axis=0)
                met[one[near]] += 1
                yield np.stack([one[near], two[near]])


def _are_copies(
    pixels: UInt8[Tensor, "N C H W"], first: Int[np.ndarray, " P"], second: Int[np.ndarray, " P"], mirror: bool
) -> Bool[np.ndarray, " P"]:
    """Whether the pixels of each pair (of the second one's mirror image, if `mirror`) are nearly the same."""
    sides = [pixels[part].numpy().astype(np.float32) for part in (first, second)]
    sides[1] = sides[1][..., ::-1] if mirror else sides[1]
    # Contrasts are brought together by what varies within a channel: a colour cast is not contrast.
    deviation = np.stack([np.sqrt(side.var(axis=(2, 3)).mean(axis=1)) for side in sides])
    scale = np.sqrt(deviation.prod(axis=0)) / np.maximum(deviation, np.finfo(np.float32).tiny)
    one, other = (side.reshape(len(side), -1) - side.mean(axis=(1, 2, 3))[:, None] for side in sides)
    return _close(one, other) | _close(one * scale[0][:, None], other * scale[1][:, None])


def _close(one: Float32[np.ndarray, "P F"], other: Float32[np.ndarray, "P F"]) -> Bool[np.ndarray, " P"]:
    difference = np.abs(one - other).mean(axis=1)
    contrast = (np.abs(one).mean(axis=1) + np.abs(other).mean(axis=1)) / 2
    return (difference <= DIFFERENCE) & (difference < SHARE * contrast)


def _merged(group: Int[np.ndarray, " N"], pairs: Int[np.ndarray, "2 P"]) -> Int[np.ndarray, " N"]:
    count = len(group)
    links = np.concatenate([pairs, np.stack([np.arange(count), group])], axis=1)
    _, label = connected_components(coo_array((np.ones(links.shape[1]), tuple(links)), shape=(count, count)), False)
    # Named by their smallest index again.
    return np.unique(label, return_index=True)[1][label]

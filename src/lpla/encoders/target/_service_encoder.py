"""An encoder behind a service: images become bytes, which are sent once each, and answers become vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lpla.contracts.answers import KeptAnswers, Vector, short
from lpla.contracts.encoder import Encoder
from lpla.contracts.inputs import InputError
from lpla.encoders.target._asking import Asker, Item
from lpla.encoders.target._given import BACKBONE
from lpla.encoders.target._input import InputRule
from lpla.encoders.target._png import eight_bits, png
from lpla.encoders.target._service_answers import (
    PACKED,
    as_vector,
    check_same,
    convention_of,
    in_order,
    unpacked,
)
from lpla.encoders.target._service_forms import Form, Kserve

REPEATED, AS_FLOATS = 20, 4
"""Images that are asked about twice, and those of which packed answers are compared with floats."""
TWICE, FLOATS = "again", "floats"
"""Under which answers beside the ordinary ones are kept."""
ROUNDING = 1e-5
"""Difference of two answers, as a part of their length, that a service's kernels make by rounding."""
ONE_LENGTH = 1e-3
"""Spread of the lengths of answers, as a part of their mean, below which they say nothing."""


class ServiceEncoder(Encoder):
    """A service as an encoder of one layer, `backbone`."""

    layers = (BACKBONE,)
    full_batches = False

    def __init__(self, asker: Asker, form: Form, rule: InputRule, said: Mapping[str, Any]) -> None:
        """Args:
        asker: sends requests and keeps answers.
        form: how the service is asked.
        rule: how images become what is sent.
        said: model, dimension and the kind of answers, as the form's template has them.
        """
        super().__init__()
        self.asker, self.form, self.fed, self.said = asker, form, rule, dict(said)
        self._packed: dict[bytes, Item] = {}
        self._facts = asker.kept.facts()
        self.eval()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a row says of the service."""
        facts = self.asker.kept.facts()
        found = [facts["repeats"]] if "repeats" in facts else []
        found += [facts["lengths"]] if facts.get("lengths") else []
        found += [f"the model that it reports is {facts['reported']}"] if facts.get("reported") else []
        return (*found, *([f"bits are read {facts['bits']} first"] if "bits" in facts else []))

    def encode(self, x: Float[Tensor, "B C H W"]) -> dict[str, Float[Tensor, "B D"]]:
        """The answers to images in [0, 1]; those that are not kept are asked for."""
        return {BACKBONE: torch.from_numpy(self._unpacked(self._kept(self._known(x))))}

    def expect(self, x: Float[Tensor, "B C H W"]) -> None:
        """Ask for all that is not kept."""
        self._known(x)

    def digests(self, x: Float[Tensor, "B C H W"]) -> Int64[Tensor, " B"]:
        """The first 63 bits of the SHA-256 of what is sent in place of each image."""
        return torch.tensor([short(digest) for digest, _ in self._items(x)])

    def examine(self, x: Float[Tensor, "B C H W"]) -> None:
        """Find the order of bits in packed answers, whether answers repeat, and whether their lengths say anything."""
        facts, x = self.asker.kept.facts(), x[:REPEATED]
        if self.said["answers"] in PACKED and "bits" not in facts:
            first = self._known(x[:AS_FLOATS])
            self._ask(first, "float", FLOATS)
            packed, floats = (self._kept(first, purpose) for purpose in ("", FLOATS))
            self.asker.kept.learn(bits=convention_of(packed, floats, self.said["answers"]))
        if "repeats" in facts:
            return
        items = self._known(x)
        # In other company and another order, so that an answer that depends on them is seen too.
        self._ask(items[::-1], self.said["answers"], TWICE)
        one, other = (self._unpacked(self._kept(items, purpose)) for purpose in ("", TWICE))
        self.asker.kept.learn(repeats=_repeats(one, other), lengths=_lengths(one))

    def _known(self, x: Tensor) -> list[Item]:
        """What is sent in place of images, once it has been answered."""
        items = self._items(x)
        self._ask(items, self.said["answers"])
        return items

    def _ask(self, items: Sequence[Item], kind: str, purpose: str = "") -> None:
        """Ask for the answers that are not kept, each once."""
        once = dict(items)
        kept = self.asker.kept.find([*once], purpose)
        missing = [(digest, image) for digest, image in once.items() if digest not in kept]
        if not missing:
            return
        if isinstance(self.form, Kserve) and not self.form.input:
            self.form = self.form.described(self.asker.describe())
        said = self.said | {"answers": kind}
        read = partial(self._read, said)
        self.asker.ask(missing, lambda images: self.form.content(images, said), read, purpose)

    def _read(self, said: Mapping[str, Any], reply: Any, digests: Sequence[str]) -> dict[str, Vector]:
        """The vectors of a reply by digest; raises InputError where they are not what the service answered before."""
        vectors, index, version = self.form.found(reply, said)
        if not vectors:
            said_instead = self.asker.excerpt(json.dumps(reply, ensure_ascii=False))
            where = f"target.vectors={self.form.vectors}" if self.form.vectors else "outputs"
            raise InputError(f"the service must answer vectors at {where}, got none: its reply begins {said_instead}")
        found = [as_vector(one, said["answers"]) for one in in_order(vectors, index, len(digests))]
        if said["answers"] == self.said["answers"]:
            if "width" not in self._facts:
                self._facts = self.asker.kept.learn(width=len(found[0]), reported=version)
            for width in sorted({len(one) for one in found}):
                check_same(self._facts, width, version)
        return dict(zip(digests, found, strict=True))

    def _items(self, x: Tensor) -> list[Item]:
        """The digest and the content of what is sent for each image; those of the images expected are remembered."""
        fed = self.fed(x.detach().float().cpu())
        arrays = list(fed.contiguous().numpy() if self.form.image == "tensor" else eight_bits(fed))
        raw = [one.tobytes() for one in arrays]
        earlier = self._packed
        if not earlier.keys() >= set(raw):
            self._packed = {key: earlier.get(key) or self._item(one) for key, one in zip(raw, arrays, strict=True)}
        return [self._packed[key] for key in raw]

    def _item(self, image: np.ndarray) -> Item:
        if self.form.image == "tensor":
            return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest(), image
        file = png(image)
        return hashlib.sha256(file).hexdigest(), file

    def _kept(self, items: Sequence[Item], purpose: str = "") -> np.ndarray:
        found = self.asker.kept.find([digest for digest, _ in items], purpose)
        return np.stack([found[digest] for digest, _ in items])

    def _unpacked(self, found: np.ndarray) -> np.ndarray:
        kind = str(self.said["answers"])
        if kind not in PACKED:
            return found
        if (bits := self.asker.kept.facts().get("bits")) is None:
            raise InputError(
                f"target.answers={kind} is read once the order of its bits is known, and nothing was asked"
            )
        return unpacked(found, kind, bits)


def to_examine(kept: KeptAnswers, kind: str, images: int) -> int:
    """Queries that `examine` asks for beside the ordinary ones, of so many images at most."""
    facts, again = kept.facts(), min(REPEATED, images)
    floats = min(AS_FLOATS, images) if kind in PACKED and "bits" not in facts else 0
    return floats + (0 if "repeats" in facts else again)


def _repeats(one: np.ndarray, other: np.ndarray) -> str:
    """The sentence on what the same images are answered twice."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    difference = np.linalg.norm(first - second, axis=1) / np.maximum(np.linalg.norm(first, axis=1), 1e-30)
    said, largest = f"{len(one)} images asked twice were answered", float(difference.max())
    if largest == 0:
        return f"{said} alike"
    if largest <= ROUNDING:
        return f"{said} alike up to rounding ({largest:.1g} of their length)"
    spread = np.linalg.norm(first - first.mean(axis=0), axis=1).mean()
    noise = float(np.linalg.norm(first - second, axis=1).mean() / max(float(spread), 1e-30))
    return (
        f"{said} otherwise, by {float(difference.mean()):.2g} of their length on average and {noise:.2g} of the spread "
        "of different images: the service is not deterministic, and the first answer to each view is used"
    )


def _lengths(found: np.ndarray) -> str:
    """The sentence on answers of one length; empty where the lengths differ."""
    lengths = np.linalg.norm(found.astype(np.float64), axis=1)
    if not np.ptp(lengths) <= ONE_LENGTH * lengths.mean():
        return ""
    return f"all answers have the length {lengths.mean():.4g}, so that the L2 norm is at chance by construction"

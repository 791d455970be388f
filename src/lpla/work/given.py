"""An encoder that was trained elsewhere: nothing of it is trained, stored or changed; it is built and asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import torch
from hydra.utils import get_class
from jaxtyping import Float
from torch import Tensor

from lpla.contracts.encoder import Encoder, Target
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, InputError
from lpla.encoders.given_checks import check_given
from lpla.encoders.recognition import misread
from lpla.extraction.extraction import Extraction
from lpla.extraction.query import query_views
from lpla.store.artifacts import Store
from lpla.work import keys
from lpla.work.plug_in import Config, digest
from lpla.work.progress import Progress
from lpla.work.source import Source
from lpla.work.target import STAND_IN, StandIn, target_of

CHECKED = 8
"""Images, at most, that an encoder is shown one by one when it is checked."""
BATCH = 128
"""Images that an encoder is asked about at once where its answers identify it."""
VIEWED = 8
"""Images, at most, of which views identify it too, and views of each of them: a function may know a view from an image
as it is, and to ask it for every view would be the extraction itself."""

_looked_at: dict[str, Encoder] = {}
"""Encoders of this process that were built to be checked, by what identifies them, until they are made."""


@dataclass(frozen=True, kw_only=True)
class Given(Source):
    """A target plug-in, what it answers and to which images; or, in its place, an encoder with random weights."""

    target: Config
    widths: dict[str, int]
    """The width of the embedding at each of its layers, as `look_at` found."""
    channels: int
    """Channels of the images that it is asked about."""
    can_be_rebuilt: bool
    """Whether the same architecture can be had with random weights, as `look_at` found: to see is to read the file."""
    random: bool = False
    """Whether random weights answer: of the same architecture where it can be rebuilt, else a ResNet of ours."""

    @classmethod
    def of(cls, data: Config) -> Given:
        """The source that `dataclasses.asdict` made `data` of, perhaps by way of JSON."""
        return cls(**data)

    @property
    def layers(self) -> tuple[str, ...]:
        """What the encoder answers."""
        return tuple(self.widths)

    @property
    def distributed(self) -> bool:
        """One process asks it, as nothing is trained."""
        return False

    def parts(self) -> Config:
        """As of every source: what the target says of its content; computed once, as files may be large."""
        return self._parts

    @cached_property
    def _parts(self) -> Config:
        if self.random and not self.can_be_rebuilt:
            kinds: dict[str, type] = {"backbone": get_class(STAND_IN["_target_"])}
            described = {"backbone": keys.of_plug_in(STAND_IN), "layers": list(self.layers), "channels": self.channels}
            return {"stand_in": described, "versions": keys.versions(kinds)}
        return {"random_twin" if self.random else "target": self._target.parts()}

    def answers(self, images: Images, index: Sequence[int], query: Query) -> str | None:
        """As of every source; the encoder is asked about each set of images, and about its views, once.

        Args:
            images: The data set.
            index: Indices of the images.
            query: What is asked for.

        Returns:
            A digest of the answers, or None where they are not needed to know the encoder.
        """
        if self.random or not self._target.known_by_answers:
            return None
        of_images = f"{images.digest} {digest(index)}"
        of_views = f"{of_images} {query}"
        if of_views not in self._answered:
            encoder = self._target.build()
            if of_images not in self._answered:
                self._answered[of_images] = _digest_of_answers(encoder, _batches(images, index))
            of_some = _digest_of_answers(encoder, _some_views(images, index, query).split(BATCH))
            self._answered[of_views] = f"{self._answered[of_images]} {of_some}"
        return self._answered[of_views]

    @cached_property
    def _answered(self) -> dict[str, str]:
        return {}

    @property
    def _target(self) -> Target:
        return target_of(self.target)

    def build(self) -> Encoder:
        """The encoder, or the random one, on the CPU; raises InputError with the remedy.

        The encoder that this process checked before is taken, once, if it is still the same file.
        """
        if found := _looked_at.pop(json.dumps(self.parts()), None):
            return found
        if not self.random:
            return self._target.build()
        return self._target.blank() or StandIn(self.layers, self.channels)

    def blank(self) -> Given:
        """The same with random weights."""
        return replace(self, random=True)

    def is_made(self, store: Store) -> bool:
        """It is there without further work."""
        return True

    def image_epochs(self) -> int:
        """Nothing is trained."""
        return 0

    def check_shares(self, ranks: int) -> None:
        """Nothing is shared, as nothing is trained."""

    def trained_as(self, store: Store) -> None:
        """As of every source: it was not trained here."""

    def make(
        self,
        name: str,
        store: Store,
        extractions: Sequence[Extraction],
        save_observed: Callable[[], None],
        progress: Progress,
    ) -> tuple[Encoder, bool]:
        """Build the encoder; arguments, result and errors are as of every source."""
        return self.build(), False


@dataclass(frozen=True)
class Look:
    """What the check of an encoder found: widths and `vectors` by layer, and `notes` on its file."""

    widths: dict[str, int]
    can_be_rebuilt: bool
    notes: tuple[str, ...]
    vectors: dict[str, Float[Tensor, "B D"]]


def look_at(target: Config, images: Float[Tensor, "B C H W"], keep: bool = False) -> Look:
    """Build a target once and check it before it is attacked.

    Args:
        target: the plug-in.
        images: at least 3 different ones in [0, 1] of those that it will be asked about; a few are asked about in turn,
            and all of them where it is kept, to see whether they are fed as in training.
        keep: whether the encoder and its random twin wait for `Given.build`; those of the last target do.

    Returns:
        What was found.

    Raises:
        InputError: for an encoder that cannot be had, cannot answer to these images or fails a check; with the remedy.
    """
    made = target_of(target)
    try:
        encoder = made.build()
        twin = made.blank()
        with torch.inference_mode():
            encoder.examine(images)
        check_given(encoder, images[:CHECKED], twin)
        with torch.inference_mode():
            found = dict(encoder.encode(images[:CHECKED]))
    except (RuntimeError, TypeError, IndexError, AttributeError) as failed:
        if isinstance(failed, torch.OutOfMemoryError):
            raise
        size = " x ".join(map(str, images.shape[1:]))
        message = " ".join(str(failed).split())
        remedy = "set target.side, or dataset.size"
        raise InputError(f"the encoder cannot answer to images of {size} values: {message}; {remedy}") from failed
    notes = tuple(getattr(encoder, "notes", ()))
    if keep:
        notes += tuple(filter(None, [misread(encoder, images)]))
        _looked_at.clear()
        if not made.known_by_answers:  # An encoder that waits is found by its parts, which do not tell these apart.
            parts = made.parts()
            _looked_at[json.dumps({"target": parts})] = encoder
            if twin is not None:
                _looked_at[json.dumps({"random_twin": parts})] = twin
    return Look({layer: found[layer].shape[1] for layer in encoder.layers}, twin is not None, notes, found)


def _batches(images: Images, index: Sequence[int]) -> Iterator[Float[Tensor, "B C H W"]]:
    """The images as they are, in batches of one size, as that may change the last bits."""
    for start in range(0, len(index), BATCH):
        yield images.pixels[list(index[start : start + BATCH])].float() / 255


def _some_views(images: Images, index: Sequence[int], query: Query) -> Float[Tensor, "V C S S"]:
    """A few of the very views that the query asks for: the first ones of images that are spread over all of them."""
    chosen = [index[i] for i in sorted({len(index) * place // VIEWED for place in range(VIEWED)})]
    few = replace(query, queries=min(query.queries, VIEWED))
    return query_views(images.pixels[chosen], torch.tensor(chosen), few)


def _digest_of_answers(encoder: Encoder, batches: Iterable[Float[Tensor, "B C H W"]]) -> str:
    """SHA-256 of the embeddings, layer by layer."""
    found = sha256()
    with torch.inference_mode():
        for shown in batches:
            for layer, embeddings in sorted(encoder.encode(shown).items()):
                found.update(layer.encode())
                found.update(embeddings.float().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()

"""What to make, as plain data: one encoder and the observations asked of it, with their keys in the store."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import get_class

from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import Images, InputError, Views
from lpla.extraction.release import Release
from lpla.store.artifacts import key_of
from lpla.work import keys
from lpla.work.given import Given
from lpla.work.plug_in import Config, digest, load_images, plug_in
from lpla.work.source import Source
from lpla.work.trained import Trained

PRECISIONS = ("32-true", "bf16-mixed")
"""Precisions of a network's answers, by Lightning's names."""
EXTRACTION = "lpla.extraction.extraction"
"""The module whose version is in the keys of statistics."""
NAMEABLE = tuple(f"lpla.encoders.{group}." for group in ("arch", "backbone", "defense", "target"))
NAMEABLE += ("lpla.data.dataset.", "lpla.extraction.statistic.", "lpla.contracts.")
NAMEABLE += ("torch.optim.", "lightly.utils.lars.", "pytorch_lightning.strategies.")
"""Packages of the classes that a recipe on disk may name."""


@dataclass(frozen=True)
class ExtractionRequest:
    """Statistics of the images `index` (data-set indices) under one query, after `epoch` (None: after the last)."""

    index: tuple[int, ...]
    query: Query
    statistics: tuple[Statistic, ...]
    epoch: int | None = None


@dataclass(frozen=True)
class Unit:
    """Everything that making one encoder and observing it needs."""

    name: str
    source: Source
    dataset: Config
    """Whose images the encoder is asked about."""
    defense: Config
    """Through whose release it answers."""
    observations: tuple[ExtractionRequest, ...]
    outside: tuple[int, ...] = ()
    """Images that are nobody's members, from which the release learns; in the key only if it does."""
    batch_size: int = 4096
    """Views per chunk of an extraction; changes no result."""
    cache_mb: int = 512
    """Views kept for the next observation of the same images, in MiB; changes no result."""
    precision: str = PRECISIONS[0]
    """Precision of the network's answers, whatever it was trained in."""

    @property
    def images(self) -> Images:
        """The images of its data set, read once per process and kept out of what is sent to another process."""
        return load_images(self.dataset)

    @property
    def encoder_parts(self) -> Config:
        """The parts of the encoder's key, its source's."""
        return self.source.parts()

    def statistic_parts(self, observation: ExtractionRequest, statistic: Statistic) -> Config:
        """The parts of a statistic's key: the encoder's, the images and views, the statistic, what is released."""
        kinds: dict[str, type] = {"statistic": type(statistic)}
        # A setting that came later is in a key only away from its default.
        parts: Config = {} if self.precision == PRECISIONS[0] else {"precision": self.precision}
        if (digest_of_all := self.images.digest) != self.encoder_parts.get("images"):
            parts["dataset"] = digest_of_all  # Not that of which the encoder's key speaks already.
        if answers := self.source.answers(self.images, observation.index, observation.query):
            parts["answers"] = answers
        if release := keys.released_defense(self.defense):
            kinds["release"], parts["release"] = get_class(self.defense["_target_"]), release
            if "fit" in keys.overridden(kinds["release"]):
                parts["release_learns_from"] = digest(self.outside)
        return parts | {
            "encoder": self.encoder_parts,
            "images": digest(observation.index),
            "query": keys.changed(observation.query),
            "epoch": observation.epoch,
            "statistic": keys.of_object(statistic),
            "versions": keys.versions(kinds, EXTRACTION),
        }

    def release(self) -> Release:
        """Return through what the encoder answers; its secret is a number that no other encoder has."""
        secret = int(key_of(self.encoder_parts)[:15], 16)
        return Release(plug_in(self.defense), secret, np.asarray(self.outside, dtype=np.int64))

    def asked(self) -> tuple[ExtractionRequest, ...]:
        """Return all that the encoder is asked: beside what is observed, the images from which its release learns."""
        if not self.outside or "fit" not in keys.overridden(get_class(self.defense["_target_"])):
            return self.observations
        clean = replace(self.observations[0].query, queries=1)
        return (*self.observations, ExtractionRequest(self.outside, clean, ()))

    def save(self, path: Path) -> None:
        """Write the recipe as JSON."""
        data = asdict(replace(self, observations=()))
        data["observations"] = [
            asdict(replace(one, statistics=())) | {"statistics": [statistic_config(s) for s in one.statistics]}
            for one in self.observations
        ]
        path.write_text(json.dumps(data, indent=1))

    @classmethod
    def load(cls, path: Path) -> Unit:
        """Read a recipe written by `save`; raises InputError if it is none."""
        try:
            data = json.loads(path.read_text())
            _check_names(data)
            source = data["source"]
            data["source"] = Given.of(source) if "target" in source else Trained.of(source)
            data["observations"] = tuple(_request(one) for one in data["observations"])
            data["outside"] = tuple(data.get("outside", ()))
            return cls(**data)
        except (OSError, ValueError, KeyError, TypeError, ImportError) as unreadable:
            raise InputError(
                f"RECIPE must be a file written by an audit, but {path} is none: {unreadable}"
            ) from unreadable


def _request(data: Config) -> ExtractionRequest:
    """An extraction that `Unit.save` wrote."""
    query = Query(**data["query"] | {"views": Views(**data["query"]["views"])})
    statistics = tuple(plug_in(one) for one in data["statistics"])
    return ExtractionRequest(tuple(data["index"]), query, statistics, data["epoch"])


def _check_names(part: Any) -> None:
    """Raise ValueError for what a recipe must not have built: it may name classes of plug-ins, and nothing else.

    A recipe lies in a folder that others may write to. A name can lead out of a plug-in's module by what that imports.
    """
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _check_names(inner)
    if not isinstance(part, dict) or "_target_" not in part:
        return
    name = str(part["_target_"])
    if not name.startswith(NAMEABLE) or not f"{get_class(name).__module__}.".startswith(NAMEABLE):
        raise ValueError(f"it names {name}, which is no plug-in, optimiser or strategy")
    if "call" in part or part.get("run_code"):
        raise ValueError(f"it names a target that runs code, {name}, which executor=serial does alone")
    if "headers" in part:
        raise ValueError(
            f"it names a service that would be sent a key, {name}, which an audit's own process asks alone"
        )


def statistic_config(statistic: Statistic) -> Config:
    """A statistic as data; its fields are its arguments."""
    kind = type(statistic)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **json.loads(json.dumps(vars(statistic)))}

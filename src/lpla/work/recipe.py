"""What to make, as plain data: one encoder and the observations asked of it, with their keys in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate

from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import Images, InputError, Views
from lpla.training.config import TrainConfig
from lpla.work import keys
from lpla.work.machine import accelerator, check_trainer
from lpla.work.trainer import TRAINER, resolve

PRECISIONS = ("32-true", "bf16-mixed")
"""Of a network's answers, by Lightning's names."""
TRAINING, EXTRACTION = "lpla.training.pretraining", "lpla.extraction.extraction"
"""Modules whose versions are in the keys of encoders and of statistics; nothing imports Lightning to name one."""
NAMEABLE = tuple(f"lpla.encoders.{group}." for group in ("arch", "backbone", "defense"))
NAMEABLE += ("lpla.data.dataset.", "lpla.extraction.statistic.", "lpla.contracts.")
NAMEABLE += ("torch.optim.", "lightly.utils.lars.", "pytorch_lightning.strategies.")
"""Where a class is that a recipe on disk may name."""
Config = dict[str, Any]
"""A plug-in as data: `_target_` and its keyword arguments."""


@dataclass(frozen=True)
class ExtractionRequest:
    """Statistics of the images `index` (data-set indices) under one query, after `epoch` (None: after the last)."""

    index: tuple[int, ...]
    query: Query
    statistics: tuple[Config, ...]
    epoch: int | None = None


@dataclass(frozen=True)
class Unit:
    """Everything that making one encoder and observing it needs."""

    name: str
    arch: Config
    backbone: Config
    dataset: Config
    defense: Config
    members: tuple[int, ...]
    regime: TrainConfig
    observations: tuple[ExtractionRequest, ...]
    trainer: Config = field(default_factory=dict)
    compile_on_cuda: bool = False
    """Part of no key, like the trainer."""
    batch_size: int = 4096
    """Views per chunk of an extraction; changes no result."""
    cache_mb: int = 512
    """Views kept for the next observation of the same images, in MiB; changes no result."""
    precision: str = PRECISIONS[0]
    """Of the network's answers, whatever it was trained in."""
    checkpoint_every: int = 10
    """Epochs from one checkpoint to the next; changes no result."""

    @property
    def distributed(self) -> bool:
        """Whether it is made by ranks, one process for each device (trainer=ddp), which `lpla.work.launcher` starts."""
        return "ddp" in str(self.trainer.get("strategy")).lower()

    @property
    def training_precision(self) -> str:
        """Lightning's name of the precision in which the encoder is trained."""
        return resolve(self.trainer)["precision"]

    @cached_property
    def encoder_parts(self) -> Config:
        """The parts of the encoder's key: what its weights depend on, and nothing else."""
        plug_ins = {"arch": self.arch, "backbone": self.backbone}
        parts: Config = {group: keys.of_plug_in(config) for group, config in plug_ins.items()}
        if defense := keys.trained_defense(self.defense):
            plug_ins["defense"], parts["defense"] = self.defense, defense
        return parts | {
            "images": load_images(self.dataset).digest,
            "members": digest(self.members),
            "train": keys.changed(self.regime),
            "precision": self.training_precision,
            "versions": keys.versions(_targets(plug_ins), TRAINING),
        }

    def statistic_parts(self, observation: ExtractionRequest, statistic: Config) -> Config:
        """The parts of a statistic's key: the encoder's, the images and views, the statistic, what is released."""
        plug_ins = {"statistic": statistic}
        # A setting that came later is in a key only away from its default.
        parts: Config = {} if self.precision == PRECISIONS[0] else {"precision": self.precision}
        if release := keys.released_defense(self.defense):
            plug_ins["release"], parts["release"] = self.defense, release
        return parts | {
            "encoder": self.encoder_parts,
            "images": digest(observation.index),
            "query": keys.changed(observation.query),
            "epoch": observation.epoch,
            "statistic": keys.of_plug_in(statistic),
            "versions": keys.versions(_targets(plug_ins), EXTRACTION),
        }

    def save(self, path: Path) -> None:
        """Write the recipe as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> Unit:
        """Read a recipe written by `save`; raises InputError if it is none."""
        try:
            data = json.loads(path.read_text())
            _check_names(data)
            data["regime"] = TrainConfig(**data["regime"] | {"views": Views(**data["regime"]["views"])})
            data["observations"] = tuple(
                ExtractionRequest(**o | {"query": Query(**o["query"] | {"views": Views(**o["query"]["views"])})})
                for o in data["observations"]
            )
            return cls(**data)
        except (OSError, ValueError, KeyError, TypeError, ImportError) as unreadable:
            raise InputError(
                f"RECIPE must be a file written by an audit, but {path} is none: {unreadable}"
            ) from unreadable


def build_arch(unit: Unit) -> Arch:
    """The framework with the initial weights of the unit's seed, on the CPU."""
    channels = load_images(unit.dataset).pixels.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(unit.regime.seed)
        backbone = plug_in(unit.backbone, partial=True)(channels)
        return plug_in(unit.arch, partial=True)(backbone)


def trainer_factory(unit: Unit) -> Any:
    """Keyword arguments -> pytorch_lightning.Trainer, with the device settings of the configuration.

    Raises InputError for settings that are not a job's to make, and for several devices that nothing would launch as
    it must be.
    """
    settings = resolve(unit.trainer)
    check_trainer(settings)
    return plug_in({"_target_": TRAINER} | settings | {"accelerator": accelerator(settings)}, partial=True)


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


def _targets(plug_ins: dict[str, Config]) -> dict[str, str]:
    return {group: config["_target_"] for group, config in plug_ins.items()}


def statistic_config(statistic: Statistic) -> Config:
    """A statistic as data; its fields are its arguments."""
    kind = type(statistic)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **json.loads(json.dumps(vars(statistic)))}


def statistic_of(config: Config) -> Statistic:
    """The statistic, built once per process: it is its arguments and nothing else."""
    return _statistic_of(json.dumps(config, sort_keys=True))


@lru_cache(maxsize=64)
def _statistic_of(config: str) -> Statistic:
    return plug_in(json.loads(config))


def plug_in(config: Config, partial: bool = False) -> Any:
    """Instantiate a plug-in; raises InputError, the constructor's own or one that quotes what it could not use."""
    try:
        return instantiate(config, _convert_="all", _partial_=partial)
    except InstantiationException as failed:
        if isinstance(failed.__cause__, InputError):
            raise failed.__cause__ from failed
        if isinstance(failed.__cause__, (TypeError, ValueError)):
            message = f"{config['_target_']} cannot be built from its settings: {failed.__cause__}"
            raise InputError(message) from failed
        raise


def load_images(dataset: Config) -> Images:
    """The data set's images, read once per process."""
    return _load_images(json.dumps(dataset, sort_keys=True))


@lru_cache(maxsize=4)
def _load_images(dataset: str) -> Images:
    return plug_in(json.loads(dataset)).load()


def digest(indices: Sequence[int]) -> str:
    """A short name for a list of data-set indices, in their order."""
    return sha256(json.dumps(list(map(int, indices))).encode()).hexdigest()[:16]

"""What to make, as plain data: one encoder and the observations asked of it, with their keys in the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
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
from lpla.contracts.settings import SettingError, plug_in_group
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
    statistics: tuple[Statistic, ...]
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
    def images(self) -> Images:
        """The images of its data set, read once per process and kept out of what is sent to another process."""
        return load_images(self.dataset)

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
            "images": self.images.digest,
            "members": digest(self.members),
            "train": keys.changed(self.regime),
            "precision": self.training_precision,
            "versions": keys.versions(_kinds(plug_ins), TRAINING),
        }

    def statistic_parts(self, observation: ExtractionRequest, statistic: Statistic) -> Config:
        """The parts of a statistic's key: the encoder's, the images and views, the statistic, what is released."""
        kinds: dict[str, type] = {"statistic": type(statistic)}
        # A setting that came later is in a key only away from its default.
        parts: Config = {} if self.precision == PRECISIONS[0] else {"precision": self.precision}
        if release := keys.released_defense(self.defense):
            kinds["release"], parts["release"] = get_class(self.defense["_target_"]), release
        return parts | {
            "encoder": self.encoder_parts,
            "images": digest(observation.index),
            "query": keys.changed(observation.query),
            "epoch": observation.epoch,
            "statistic": keys.of_object(statistic),
            "versions": keys.versions(kinds, EXTRACTION),
        }

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
            data["regime"] = TrainConfig(**data["regime"] | {"views": Views(**data["regime"]["views"])})
            data["members"] = tuple(data["members"])
            data["observations"] = tuple(_request(one) for one in data["observations"])
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


def build_arch(unit: Unit) -> Arch:
    """The framework with the initial weights of the unit's seed, on the CPU."""
    channels = unit.images.pixels.shape[1]
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


def _kinds(plug_ins: dict[str, Config]) -> dict[str, type]:
    return {group: get_class(config["_target_"]) for group, config in plug_ins.items()}


def statistic_config(statistic: Statistic) -> Config:
    """A statistic as data; its fields are its arguments."""
    kind = type(statistic)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **json.loads(json.dumps(vars(statistic)))}


def plug_in(config: Config, partial: bool = False, setting: str = "") -> Any:
    """Instantiate a plug-in.

    Args:
        config: `_target_` and keyword arguments.
        partial: whether the code has further arguments to supply: a callable is returned that takes them.
        setting: the keys that lead to it, where they are not the group that its module belongs to.

    Raises:
        InputError: the constructor's own, with the keys that lead to the setting, or one that quotes what it could not
            use.
    """
    try:
        return instantiate(config, _convert_="all", _partial_=partial)
    except InstantiationException as failed:
        # Where in the configuration, in the last line of Hydra's message.
        _, inner, keys = str(failed).partition("full_key: ")
        cause = failed.__cause__
        if isinstance(cause, SettingError) and (inner or setting):
            group = setting or plug_in_group(str(config["_target_"]).rpartition(".")[0]) or ""
            raise cause.below(*filter(None, (group, *keys.split(".")))) from failed
        if isinstance(cause, InputError):
            raise cause from failed
        if cause is None or isinstance(cause, (TypeError, ValueError, ImportError)):
            message = " ".join(str(cause or failed).split())
            raise InputError(f"{config.get('_target_')} cannot be built from its settings: {message}") from failed
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

"""What is checked of an audit's settings before any work: their types, what goes together, what counts allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from omegaconf import DictConfig

from lpla.auditing.resolved import check_paths, check_places, resolved
from lpla.auditing.targets_named import check_named
from lpla.contracts.extras import check_installed, check_logger
from lpla.contracts.inputs import Images, InputError, Views
from lpla.contracts.keywords import check_names
from lpla.contracts.settings import (
    Count,
    NonNegative,
    Order,
    Part,
    Seed,
    SettingError,
    Settings,
    Whole,
    check_arguments,
    read,
)
from lpla.contracts.settings import shown as written
from lpla.data.augment import apply as augmentation
from lpla.work.plug_in import Config, plug_in

PlugIn = dict[str, Any]
VIEWS_BESIDE = ("train_views", "query_views")
"""They stand among a data set's settings, and are none of its constructor's."""
LABELS = ("p", "queries")
"""Settings of an attack by which its rows are labelled: they follow the audit's own."""


class _Train(Settings):
    batch_size: Count
    compile: Literal["never", "auto"]


class _Checkpoint(Settings):
    every: Count
    seconds: NonNegative


class _Observe(Settings):
    queries: Count
    batch_size: Count
    precision: Literal["32-true", "bf16-mixed"]
    cache_mb: Whole
    statistics: list[PlugIn]
    every: Count | None
    eight_bit: bool = False


class _Utility(Settings):
    images: Whole
    k: Count


class _Knowledge(Settings):
    kind: Literal["shadows", "one_shadow", "known_nonmembers", "few_labels", "labels"]
    images: Count
    dataset: str
    arch: str
    views: str
    defense: str = "same"
    reference_levels: bool = False


class _BesideTarget(Settings):
    shadows: str | dict[str, Any] | None = None
    reference: str | dict[str, Any] | None = None


class _Data(Settings):
    root: str
    download: bool
    cache: str
    members: str | None = None
    nonmembers: str | None = None
    unseen: str | None = None


class _Report(Settings):
    images: bool
    names: bool = False


class _Limits(Settings):
    # Nothing is computed with these but a comparison.
    hours: Annotated[float, Gt(0)] | None
    memory_gb: Literal["auto"] | Annotated[float, Gt(0)] | None


class AuditSettings(Settings):
    """Every setting of `conf/config.yaml`; the groups' own are checked by the constructors of their options."""

    arch: PlugIn
    backbone: PlugIn
    dataset: PlugIn
    split: PlugIn
    attack: PlugIn
    defense: PlugIn
    trainer: PlugIn
    executor: PlugIn
    logger: PlugIn | None = None
    views: PlugIn | None = None
    target: PlugIn | None = None
    p: Order
    ps: list[Order]
    queries: Count
    shadows: Annotated[int, Ge(0), Le(10_000)]
    members: Count | None
    epochs: Whole
    seed: Seed
    layer: str
    store: str
    train: _Train
    checkpoint: _Checkpoint
    observe: _Observe
    utility: _Utility
    knowledge: _Knowledge
    permutations: Annotated[int, Ge(1), Le(1_000_000)]
    targets: Literal["all", "one"]
    jury: Count | None
    prior: Part
    data: _Data
    report: _Report
    limits: _Limits


def typed(config: DictConfig) -> Config:
    """The settings as plain data, references resolved.

    Raises InputError, one sentence, for an unknown setting, for one of another type or beyond its bounds, for plug-ins
    that do not take theirs, and for settings that do not go together.
    """
    settings = resolved(config)
    check_places(settings)
    read(AuditSettings, settings)
    check_paths({"data": settings["data"]} | settings)  # which the data set's own refer to
    settings.setdefault("target", None)
    plug_ins = ["arch", "backbone", "dataset", "split", "attack", "defense", "trainer", "executor"]
    for name in (*plug_ins, *(one for one in ("target", "logger") if settings.get(one))):
        if not isinstance(settings[name].get("_target_"), str):
            raise SettingError((name,), f"must be settings with a _target_, got {written(settings[name])}")
    check_named(settings)
    settings["beside_target"] = _take_beside_target(settings)
    if views := settings.pop("views", None):
        # In place of those that suit the data set's images.
        settings["dataset"] |= {"train_views": views, "query_views": views}
    for name in VIEWS_BESIDE:
        plug_in(settings["dataset"].get(name) or {}, setting=f"dataset.{name}")
    if settings.get("logger"):
        check_logger(str(settings["logger"]["_target_"]).rpartition(".")[2])
    for group in (*plug_ins, "logger", "target"):
        if group != "trainer" and settings.get(group):
            _check_plug_in(group, {name: one for name, one in settings[group].items() if name not in VIEWS_BESIDE})
    _check_labels(settings)
    _check_lists(settings)
    return settings


def _take_beside_target(settings: Config) -> Config:
    """Take those that say which encoders stand beside it out of the target's settings; without a target, none."""
    names = _BesideTarget.model_fields
    found = {name: settings["target"].pop(name, None) for name in names} if settings["target"] else dict.fromkeys(names)
    try:
        read(_BesideTarget, found)
    except SettingError as wrong:
        raise wrong.below("target") from None
    return found


def check_arch(settings: Config) -> None:
    """Raise InputError where the framework cannot be trained with these epochs and batches."""
    arch = plug_in(settings["arch"], partial=True)
    warmup = settings["arch"].get("optimization", {}).get("warmup_epochs", 0)
    if warmup > settings["epochs"] > 0:
        most = f"at most epochs, which is {settings['epochs']}"
        raise InputError(f"arch.optimization.warmup_epochs must be {most}, got {warmup}")
    fewest, size = arch.func.smallest_batch, settings["train"]["batch_size"]
    if size < fewest:
        raise InputError(f"train.batch_size must be at least {fewest} for this framework, got {size}")


def check_views(views: Mapping[str, Views], images: Images) -> None:
    """Raise InputError where an augmentation cannot be applied to the images; `views` go by their setting's name."""
    for setting, spec in views.items():
        try:
            augmentation.check(spec, *images.pixels.shape[1:])
        except InputError as impossible:
            # An option that was chosen has no keys of its own in this audit.
            raise InputError(f"{setting}{': ' if '=' in setting else '.'}{impossible}") from impossible


def _check_plug_in(group: str, config: Config) -> None:
    """Hold the constructor to its settings without calling it."""
    made = plug_in(config, partial=True)
    check_installed(f"{group}={getattr(made.func, 'name', group)}", getattr(made.func, "packages", ()))
    try:
        check_names(made.func, made.keywords)
    except SettingError as unknown:
        raise unknown.below(group) from None
    check_arguments(made.func, made.keywords)


def _check_labels(settings: Config) -> None:
    for name in LABELS:
        own = settings["attack"].get(name, settings[name])
        if own != settings[name]:
            problem = f"follows {name}, by which rows are labelled: set {name}={written(own)} instead"
            raise SettingError(("attack", name), problem)


def _check_lists(settings: Config) -> None:
    for name in ("members", "nonmembers", "unseen"):
        if settings["data"].get(name) is not None and name not in settings["dataset"]:
            raise SettingError(("data", name), "is read by dataset=given alone, got another data set")

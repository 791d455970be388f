"""The settings of one audit with all that planning it needs of Hydra, which is asked once and by no global state later.

A job of the command line has them from its `HydraConfig`; the Python door composes its own, whatever else uses Hydra in
that process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra import compose, initialize_config_module, version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lpla.auditing.command_line import check_choices, explain
from lpla.auditing.resolved import without_secrets
from lpla.contracts.result import InputError, nearest
from lpla.report.rows import as_given


@dataclass(frozen=True)
class Settings:
    """What an audit is told, and where other options of the same configuration are found."""

    config: DictConfig
    choices: Mapping[str, str | None]
    """Configuration group -> the option that was chosen."""
    overrides: tuple[str, ...]
    """What was given beside the defaults."""
    loader: ConfigLoader
    group: str | None = None
    """The name of the sweep that this job is part of; None for a job on its own."""

    def alternative(self, group: str, option: str) -> Any:
        """The default settings, as plain data, with another `option` of a `group` and the data folders of this audit.

        An option of the group `views`, which no audit has, stands as `shadow_views`. Raises InputError, which lists the
        options, where there is no such one.
        """
        carried = [one for one in self.overrides if one.startswith("data.")]
        choice = f"+views@shadow_views={option}" if group == "views" else f"{group}={option}"
        try:
            config = self.loader.load_configuration("config", [*carried, choice], RunMode.RUN, from_shell=False)
        except (ConfigCompositionException, MissingConfigException) as unknown:
            options = ("same", *self.loader.get_group_options(group))
            hint = nearest(option, options)
            raise InputError(f"knowledge.{group} must be one of {', '.join(options)}, got {option}{hint}") from unknown
        return OmegaConf.to_container(_without_hydra(config), resolve=True)

    def defaults(self) -> DictConfig:
        """The default settings under the same choices."""
        chosen = [f"{group}={option}" for group, option in self.choices.items() if option and "/" not in group]
        return _without_hydra(self.loader.load_configuration("config", chosen, RunMode.RUN, from_shell=False))


def of_job(config: DictConfig) -> Settings:
    """The settings of the job that Hydra runs in this process."""
    hydra = HydraConfig.get()
    group = hydra.sweep.dir.rpartition("/")[2] if hydra.mode == RunMode.MULTIRUN else None
    loader = GlobalHydra.instance().config_loader()
    config = without_secrets(config)
    return Settings(config, dict(hydra.runtime.choices), tuple(as_given(hydra.overrides.task)), loader, group)


def composed(overrides: Sequence[str]) -> Settings:
    """The default settings with `overrides` (as on the command line); what Hydra is for others stays as it was.

    Raises InputError, one sentence, for an override that cannot be used.
    """
    with own_hydra() as loader, _mistakes_of(overrides):
        config = compose("config", list(overrides), return_hydra_config=True)
    choices, given = dict(config.hydra.runtime.choices), tuple(as_given(config.hydra.overrides.task))
    return Settings(without_secrets(_without_hydra(config)), choices, given, loader)


def jobs(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of every job of `python run.py -m OVERRIDES`, by Hydra's own rules for sweeps.

    Raises InputError, one sentence, for an override that cannot be used.
    """
    with own_hydra(), _mistakes_of(overrides):
        given = OverridesParser.create().parse_overrides(list(overrides))
        plain = [str(one.input_line) for one in given if not one.is_sweep_override()]
        params = compose("config", plain, return_hydra_config=True).hydra.sweeper.get("params") or {}
        axes = OverridesParser.create().parse_overrides([f"{axis}={values}" for axis, values in params.items()])
        (found,) = BasicSweeper.split_arguments([*axes, *given], None)
    return [list(job) for job in found]


def is_sweep(overrides: Sequence[str]) -> bool:
    """Whether a command with these overrides sweeps without `-m`, as an experiment may have it.

    Raises InputError, one sentence, for an override that cannot be used.
    """
    with own_hydra(), _mistakes_of(overrides):
        return compose("config", list(overrides), return_hydra_config=True).hydra.mode == RunMode.MULTIRUN


@contextmanager
def _mistakes_of(overrides: Sequence[str]) -> Iterator[None]:
    """Within, what Hydra cannot use of the overrides raises InputError, one sentence."""
    try:
        check_choices(overrides)
        yield
    except (HydraException, OmegaConfBaseException) as mistake:
        raise InputError(explain(mistake, overrides)) from mistake


@contextmanager
def own_hydra() -> Iterator[ConfigLoader]:
    """Hydra with the configuration of this package; afterwards the process has again what it had before."""
    kept, base = GlobalHydra.instance().hydra, version.getbase()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("lpla.conf", version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().hydra = kept
        version.VersionBase.instance().version_base = base  # which may be that none was chosen


def _without_hydra(config: DictConfig) -> DictConfig:
    with open_dict(config):
        config.pop("hydra", None)
    return config

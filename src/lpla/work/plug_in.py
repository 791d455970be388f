"""Plug-ins from their configurations, and the images of a data set, read once per process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from lpla.contracts.extras import missing_package, not_installed
from lpla.contracts.inputs import Images, InputError
from lpla.contracts.settings import SettingError, plug_in_group, shown

Config = dict[str, Any]
"""A plug-in as data: `_target_` and its keyword arguments."""


def plug_in(config: Any, partial: bool = False, setting: str = "") -> Any:
    """Instantiate a plug-in.

    Args:
        config: `_target_` and keyword arguments; anything else is refused.
        partial: whether the code has further arguments to supply: a callable is returned that takes them.
        setting: the keys that lead to it, where they are not the group that its module belongs to.

    Raises:
        InputError: the constructor's own, with the keys that lead to the setting, or one that quotes what it could not
            use.
    """
    if not isinstance(config, Mapping) or "_target_" not in config:
        raise InputError(f"{setting or 'a plug-in'} must be settings with a _target_, got {shown(config)}")
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
            raise (InputError(f"{setting}: {cause}") if setting else cause) from failed
        if package := not_installed(failed):
            module = str(config["_target_"]).rpartition(".")[0]
            option = f"{setting or plug_in_group(module) or 'a plug-in'}={module.rpartition('.')[2]}"
            raise missing_package(option, package) from failed
        if cause is None or isinstance(cause, (TypeError, ValueError, ImportError)):
            message = " ".join(str(cause or failed).split())
            raise InputError(f"{config.get('_target_')} cannot be built from its settings: {message}") from failed
        raise
    except (TypeError, ValueError) as flag:  # Hydra's own, of a setting that it reads itself (_partial_=text)
        message = " ".join(str(flag).split())
        raise InputError(f"{config.get('_target_')} cannot be built from its settings: {message}") from flag


def load_images(dataset: Config) -> Images:
    """The data set's images, read once per process and working folder, from which relative paths go."""
    return _load_images(json.dumps(dataset, sort_keys=True), str(Path.cwd()))


@lru_cache(maxsize=4)
def _load_images(dataset: str, _folder: str) -> Images:
    return plug_in(json.loads(dataset)).load()


def digest(indices: Sequence[int]) -> str:
    """A short name for a list of data-set indices, in their order."""
    return sha256(json.dumps(list(map(int, indices))).encode()).hexdigest()[:16]

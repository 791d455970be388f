"""Settings as plain data: every reference leads to a value, no path is empty, no key stands in another's place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lpla.contracts.inputs import InputError
from lpla.contracts.result import MISPLACED
from lpla.contracts.settings import SettingError, shown
from lpla.work.plug_in import Config

PATHS = {"store", "root", "cache", "members", "nonmembers", "unseen", "file", "folder", "save_dir", "default_root_dir"}
PATHS |= {"shadows", "reference", "ca_file", "tls_ca_file", "tls_cert", "tls_key"}
"""Settings that are paths, whatever they stand below."""
OF_ENVIRONMENT = re.compile(r"\$\{oc\.env:([A-Za-z_][A-Za-z0-9_]*)\}")


def resolved(config: DictConfig) -> Any:
    """The settings as plain data; InputError for one without a value and for a reference that leads to none."""
    raw: Any = OmegaConf.to_container(config, resolve=False)
    if missing := next(_without_value(raw), None):
        raise InputError(f"{missing} must have a value, got ???, which is none")
    try:
        return OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as unresolved:
        for key in filter(None, re.split(r"[.\[\]]", unresolved.full_key or "")):
            raw = raw[int(key) if isinstance(raw, list) else key]
        said = str(unresolved).partition("\n")[0]
        problem = "leads back to itself" if said.startswith("Recursive") else f"leads to no value ({said})"
        raise InputError(f"{unresolved.full_key} must be a value or refer to one, but {raw} {problem}") from unresolved


def without_secrets(config: DictConfig) -> DictConfig:
    """The configuration with $NAME in place of ${oc.env:NAME} in the headers of a service.

    Whatever is made of it from here on, a key, a recipe, a record, has no value of the environment in it.
    Raises InputError for a reference that would be resolved otherwise.
    """
    target = config.get("target")
    if not isinstance(target, DictConfig) or not isinstance(target.get("headers"), DictConfig):
        return config
    all_of_it: Any = OmegaConf.to_container(target, resolve=False)
    raw = all_of_it.pop("headers")
    for name in ("key", "item", "body", "version"):
        if "${" in str(all_of_it.get(name)):
            where = "give the name of a variable by target.key, or a header by target.headers"
            raise InputError(
                f"target.{name} must not refer to a value of the environment, which may be secret: {where}"
            )
    found = {name: OF_ENVIRONMENT.sub(r"$\1", text) if isinstance(text, str) else text for name, text in raw.items()}
    for name, text in found.items():
        if "${" in str(text):
            raise InputError(
                f"target.headers.{name} must refer to the environment as ${{oc.env:NAME}}, got {raw[name]}"
            )
    changed = config.copy()
    OmegaConf.set_readonly(changed, False)
    changed.target.headers = found
    return changed


def check_places(settings: Config) -> None:
    """Raise SettingError for a key that is known to be sought where it is no setting."""
    for key, meant in MISPLACED.items():
        group, name = key.split(".")
        if isinstance(settings.get(group), dict) and name in settings[group]:
            raise SettingError((group, name), f"is no setting; did you mean {meant}?")


def check_paths(part: Config, above: tuple[str, ...] = ()) -> None:
    """Raise SettingError for an empty path, which would be the folder that the user happens to stand in."""
    for name, value in part.items():
        if isinstance(value, dict):
            check_paths(value, (*above, name))
        elif name in PATHS and isinstance(value, str) and not value.strip():
            raise SettingError((*above, name), f"must be the path of a file or folder, got {shown(value)}")


def _without_value(part: Any, above: str = "") -> Iterator[str]:
    if part == "???":
        yield above
    elif isinstance(part, dict):
        for key, inner in part.items():
            yield from _without_value(inner, f"{above}.{key}" if above else str(key))
    elif isinstance(part, list):
        for place, inner in enumerate(part):
            yield from _without_value(inner, f"{above}[{place}]")

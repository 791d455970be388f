"""Settings of encoders that stand beside a target: the target's with another file, or settings of their own."""

from __future__ import annotations

from typing import Any

from hydra.utils import get_class
from omegaconf import OmegaConf

from lpla.auditing.catalogue import CONF, options
from lpla.auditing.service import asks_a_service
from lpla.contracts.encoder import Target
from lpla.contracts.keywords import check_names
from lpla.contracts.settings import SettingError, shown
from lpla.work.plug_in import Config, plug_in

FILE, FOLDER = "{target: checkpoint, file: ...}", "{folder: DIR, target: checkpoint, ...}"


def reference_as(told: str | Config, target: Config) -> Config:
    """The settings of target.reference: the target's with another file or function, or those that it says itself.

    Raises SettingError for an option or a setting that is none, or for a file alone beside a service.
    """
    if isinstance(told, str):
        if asks_a_service(target):
            raise _of_its_own("reference", FILE, told)
        return target | {"file" if "file" in target else "call": told}
    return _read_by(told, "reference")


def shadows_as(told: str | Config, target: Config) -> tuple[str, Config]:
    """The folder of target.shadows, and how each of its encoders is read: as the target, or as it says itself.

    Raises SettingError as `reference_as`.
    """
    if isinstance(told, str):
        if asks_a_service(target):
            raise _of_its_own("shadows", FOLDER, told)
        return told, target
    folder = told.get("folder")
    if not isinstance(folder, str) or not folder.strip():
        raise SettingError(("target", "shadows", "folder"), f"must be the path of a folder, got {shown(folder)}")
    return folder, _read_by({name: one for name, one in told.items() if name != "folder"}, "shadows")


def _of_its_own(setting: str, example: str, got: str) -> SettingError:
    problem = f"must have settings of its own beside a service, as {example}, got {shown(got)}"
    return SettingError(("target", setting), problem)


def _read_by(told: Config, setting: str) -> Config:
    """Settings that name an option of the group `target`, completed by those of the option."""
    name, known = told.get("target"), options("target")
    if name not in known:
        problem = f"must be one of {', '.join(known)}, which reads the file, got {shown(name)}"
        raise SettingError(("target", setting, "target"), problem)
    usual: Any = OmegaConf.to_container(OmegaConf.load(CONF / "target" / f"{name}.yaml"))
    if get_class(usual["_target_"]).asks is not Target.asks:
        problem = "must be an option that reads a file, as the price of an audit is that of one service"
        raise SettingError(("target", setting, "target"), f"{problem}, got {name}")
    own = {key: one for key, one in told.items() if key != "target"}
    made = plug_in({key: one for key, one in usual.items() if key != "defaults"} | own, partial=True)
    try:
        check_names(made.func, made.keywords)
    except SettingError as unknown:
        raise unknown.below("target", setting) from None
    return {"_target_": usual["_target_"], **made.keywords}

"""Hand a finished job to the logger that was chosen: Lightning's own, one run of each kind (train, audit)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from hydra.utils import get_class

from lpla.auditing.loggers.opened import opened
from lpla.auditing.loggers.record import Record
from lpla.contracts.keywords import check_names
from lpla.contracts.settings import SettingError
from lpla.work.plug_in import Config

log = logging.getLogger(__name__)


def check(settings: Config) -> None:
    """Raise InputError, before any work, if the packages behind a logger do not know a setting.

    What a logger takes by `**` it hands on, and a name that nobody knows would end in a warning after hours of work.
    That the packages are installed is checked with the other settings (`lpla.contracts.extras.check_logger`).
    """
    try:
        _check_handed_on(_name(settings), settings)
    except SettingError as unknown:
        raise unknown.below("logger") from None


def _check_handed_on(name: str, settings: Config) -> None:
    """Raise SettingError for a name that neither the logger nor what it hands it to knows."""
    given = {key: value for key, value in settings.items() if not key.startswith("_")}
    if name == "WandbLogger":
        import wandb

        check_names(get_class(settings["_target_"]), given, [wandb.init])
        if isinstance(inner := given.get("settings"), Mapping):
            try:
                check_names(wandb.Settings, inner)
            except SettingError as unknown:
                raise unknown.below("settings") from None
    elif name == "TensorBoardLogger":
        from torch.utils.tensorboard import SummaryWriter

        if "log_dir" in given:
            raise SettingError(("log_dir",), "is no setting: it follows from save_dir, name and version")
        check_names(get_class(settings["_target_"]), given, [SummaryWriter])


def log_job(settings: Config, folder: Path, recorded: Callable[[], Record]) -> None:
    """Log the training of a job's encoders and its audit; a failure costs a warning, not the audit in `folder`.

    Args:
        settings: The audit's settings.
        folder: The job's folder.
        recorded: What is logged.
    """
    try:
        record = recorded()
        if _name(settings) == "WandbLogger":
            from lpla.auditing.loggers import weights_and_biases

            weights_and_biases.log_job(settings, record)
        else:
            for kind in ("train", "audit"):
                with opened(settings, record, kind):
                    pass
    # Whatever goes wrong in a service or a file of its own: the numbers are on disk already, and the sweep goes on.
    except Exception as failed:
        where = f"the audit is whole in {folder}"
        offline = "; WANDB_MODE=offline needs no network" if _name(settings) == "WandbLogger" else ""
        log.warning("logger=%s failed, %s: %s: %s%s", _name(settings), where, type(failed).__name__, failed, offline)
        log.debug("the logger's failure", exc_info=failed)


def _name(settings: Config) -> str:
    return settings["_target_"].rpartition(".")[2]

"""One run of a logger: opened with what every kind of run logs, and finished whatever happens within it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lpla.auditing.loggers.record import Record
from lpla.work.plug_in import Config, plug_in


@contextmanager
def opened(settings: Config, record: Record, kind: str, **more: Any) -> Iterator[Any]:
    """Open one of Lightning's loggers and log the settings and the figures of a job; it is finished at the end.

    Args:
        settings: `_target_` and arguments of the logger, in which {folder}, {group}, {name} and {kind} are filled in.
        record: the job.
        kind: which of its figures are logged, those of `train` or of `audit`.
        more: further arguments of the logger.

    Returns:
        The logger, which is closed at the end.
    """
    words = {"folder": record.job.folder, "group": record.job.group, "name": f"{record.job.name} {kind}", "kind": kind}
    logger = plug_in(_filled(settings, words) | more)
    status = "failed"
    try:
        logger.log_hyperparams(record.hyperparameters)
        for epoch, figures in record.steps(kind):
            logger.log_metrics(figures, step=epoch)
        yield logger
        status = "success"
    finally:
        logger.finalize(status)


def _filled(value: Any, words: Mapping[str, Any]) -> Any:
    """The settings with {folder}, {group}, {name} and {kind} filled in, at any depth."""
    if isinstance(value, str):
        for name, word in words.items():
            value = value.replace(f"{{{name}}}", str(word))
        return value
    if isinstance(value, Mapping):
        return {name: _filled(one, words) for name, one in value.items()}
    return value

"""Settings of Lightning's trainer: those that cannot touch the weights are a job's to make, the others are refused.

The trainer is in no encoder's key but for its precision. A setting that changed the weights would store another encoder
under the key of one without it, and the next job with that key would find it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, SettingError, Settings, read

TRAINER = "pytorch_lightning.Trainer"


class _Harmless(Settings):
    """What may be set: on what and in what precision it trains, and what it shows.

    What a single annotation does not say is checked below, and by `lpla.work.machine`.
    """

    accelerator: Any = None
    devices: Any = None
    num_nodes: Any = None
    strategy: Any = None
    precision: str | int = ""
    log_every_n_steps: Count = 1
    profiler: Literal["simple", "advanced"] | None = None
    detect_anomaly: bool = False
    enable_model_summary: bool = False
    enable_progress_bar: bool = False
    # The store, the loggers of an audit and its own batches do these.
    logger: Literal[False] = False
    enable_checkpointing: Literal[False] = False
    use_distributed_sampler: Literal[False] = False


HARMLESS = frozenset(_Harmless.model_fields)
INSTEAD = {
    "accumulate_grad_batches": "train.batch_size",
    "default_root_dir": "store",
    "fast_dev_run": "epochs",
    "limit_train_batches": "members",
    "max_epochs": "epochs",
    "max_steps": "epochs",
    "max_time": "epochs",
    "min_epochs": "epochs",
    "min_steps": "epochs",
    "overfit_batches": "members",
    "sync_batchnorm": "trainer=ddp (which does it by itself)",
}
"""The setting that does here what one of Lightning's does."""
STRATEGY = "pytorch_lightning.strategies.DDPStrategy"
OF_STRATEGY = {"broadcast_buffers", "cluster_environment", "find_unused_parameters", "process_group_backend", "timeout"}
"""Arguments of the strategy that change neither gradients nor what is done with them."""
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Short names of the precisions in which an encoder may be trained, and Lightning's own names."""


def resolve(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trainer's settings with the precision that will be used; those that are resolved stay as they are.

    `precision: auto` is bf16-mixed on a CUDA GPU that has bfloat16, and 32-true elsewhere: of the machine that plans an
    audit, so that all machines that train for it use the same one.

    Raises:
        InputError: for a setting that could change an encoder without changing its key.
    """
    settings = {name: value for name, value in trainer.items() if name != "_target_"}
    if trainer.get("_target_", TRAINER) != TRAINER:
        raise InputError(f"trainer._target_ must be {TRAINER}, got {trainer['_target_']}")
    for name, value in settings.items():
        if name not in HARMLESS:
            instead = f"set {INSTEAD[name]} instead" if name in INSTEAD else "no setting does it here"
            reason = "could change an encoder without changing its key"
            raise InputError(f"trainer.{name} must be left as it is, as it {reason}, got {value}; {instead}")
        if isinstance(value, Mapping) and name != "strategy":
            raise InputError(f"trainer.{name} must be a plain value, got {dict(value)}")
    try:
        read(_Harmless, settings)
    except SettingError as wrong:
        raise wrong.below("trainer") from None
    _check_strategy(settings.get("strategy", "auto"))
    return settings | {"precision": _precision(settings)}


def _check_strategy(strategy: Any) -> None:
    if strategy == "auto":
        return
    known = isinstance(strategy, Mapping) and strategy.get("_target_") == STRATEGY
    if not known or set(strategy) - {"_target_"} - OF_STRATEGY:
        wanted = f"auto or that of trainer=ddp, with no arguments but {', '.join(sorted(OF_STRATEGY))}"
        raise InputError(f"trainer.strategy must be {wanted}, got {strategy}")


def _precision(settings: Mapping[str, Any]) -> str:
    wanted = str(settings.get("precision", "32"))
    if wanted == "auto":
        usable = settings.get("accelerator") != "cpu" and torch.cuda.is_available()
        return "bf16-mixed" if usable and torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    found = PRECISIONS.get(wanted, wanted)
    if found not in PRECISIONS.values():
        raise InputError(f"trainer.precision must be auto, {', '.join(PRECISIONS.values())}, got {wanted}")
    return found

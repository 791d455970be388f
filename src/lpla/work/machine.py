"""What a trainer's settings need of the machine that trains: known accelerators, a GPU, so many devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lpla.contracts.inputs import InputError

ACCELERATORS = ("auto", "cpu", "gpu", "cuda")


def accelerator(trainer: Mapping[str, Any]) -> str:
    """Return what Lightning is to train on, cpu or cuda; `auto` never means a device that cannot make views (MPS)."""
    wanted = trainer.get("accelerator", "auto")
    return "cpu" if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()) else "cuda"


def check_trainer(trainer: Mapping[str, Any], here: bool = True) -> None:
    """Check the accelerator, the devices, the hosts and what the precision needs of them.

    Args:
        trainer: The settings, as `lpla.work.trainer.resolve` leaves them.
        here: Whether this machine trains; the devices of others are checked there.

    Raises:
        InputError: One sentence, before any work.
    """
    wanted, ranks = trainer.get("accelerator", "auto"), trainer.get("strategy", "auto") != "auto"
    if wanted not in ACCELERATORS:
        raise InputError(f"trainer.accelerator must be auto, cpu or gpu, got {wanted}")
    devices, hosts = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    if not _is_count(hosts) or (hosts > 1 and not ranks):
        raise InputError(f"trainer.num_nodes must be an integer >= 1, and 1 without trainer=ddp, got {hosts}")
    listed = devices if isinstance(devices, list) else []
    numbered = bool(listed) and len(set(listed)) == len(listed) and all(type(one) is int and one >= 0 for one in listed)
    if not ranks and devices != 1 and not (numbered and len(listed) == 1):
        raise InputError(f"trainer.devices must be 1 without trainer=ddp, got {devices}")
    if not _is_count(devices) and not numbered and devices != "auto":
        raise InputError(f"trainer.devices must be auto, an integer >= 1 or a list of GPUs' numbers, got {devices}")
    if here:
        _check_here(trainer, wanted, devices, numbered)


def _check_here(trainer: Mapping[str, Any], wanted: str, devices: Any, numbered: bool) -> None:
    on_gpu, there = accelerator(trainer) == "cuda", torch.cuda.device_count()
    if on_gpu and not there:
        raise InputError(f"trainer.accelerator={wanted} needs a CUDA GPU, of which torch finds none; set trainer=cpu")
    if numbered and not on_gpu:
        raise InputError(f"trainer.devices must be an integer >= 1 on the CPU (a list names GPUs), got {devices}")
    if on_gpu and (max(devices) >= there if numbered else devices != "auto" and devices > there):
        raise InputError(f"trainer.devices={devices} must name GPUs of this machine, of which there are {there}")
    if trainer.get("precision") == "16-mixed" and not on_gpu:
        raise InputError("trainer.precision=16-mixed needs a CUDA GPU; set trainer.precision=bf16-mixed or 32-true")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1

"""How long a command would take on another machine, from what `python -m benchmarks --json FILE` measured there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpla.auditing.ahead import Ahead
from lpla.contracts.inputs import InputError

NEEDED = "a file that `python -m benchmarks --json FILE` of this version has written, with training and extraction"


@dataclass(frozen=True)
class Machine:
    """A device whose rates were measured: operations per second of the networks that the benchmark ran."""

    name: str
    training: float
    answering: float

    def seconds(self, found: Ahead) -> tuple[float, float]:
        """Seconds of training and of views, in proportion to the operations of the networks."""
        networks = found.networks.items()
        training = sum(found.samples[kind] * network.operations for kind, network in networks) / self.training
        return training, sum(found.views[kind] * network.answering for kind, network in networks) / self.answering


def read_machines(file: Path) -> list[Machine]:
    """Return the devices of a benchmark's file: its CPU, and its GPU where there is one.

    Raises InputError, one sentence, for a file that is none of a benchmark.
    """
    try:
        held = json.loads(file.read_text())
        rows, machine = held["rows"], held["machine"]
        devices = dict.fromkeys(row["device"] for row in rows if row.get("device"))
        found = [_machine(file.stem, machine, device, rows) for device in devices]
    except (OSError, ValueError, LookupError, TypeError, StopIteration) as wrong:
        why = str(wrong) if isinstance(wrong, OSError) else f"{type(wrong).__name__}: {wrong}"
        raise InputError(f"--bench must be {NEEDED}, got {file} ({why})") from wrong
    if not found:
        raise InputError(f"--bench must be {NEEDED}, got {file} without these parts")
    return found


def _machine(stem: str, machine: Mapping[str, Any], device: str, rows: list[Mapping[str, Any]]) -> Machine:
    def rate(part: str) -> float:
        row = next(row for row in rows if row["part"] == part and row.get("device") == device)
        return float(row["ours"]["median"]) * float(row["operations"])

    what = machine["gpu"] if device == "cuda" else f"{machine['cpu']}, {machine['threads']} threads"
    return Machine(f"{stem} ({what})", rate("training"), rate("extraction"))

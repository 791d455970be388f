"""How things are timed: ours, theirs and the limit in turn, again and again, so that a busy machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch


def interleaved(measures: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Each measure's figures over `repeats` rounds in which all of them have their turn."""
    rounds = [{name: measure() for name, measure in measures.items()} for _ in range(repeats)]
    return {name: [one[name] for one in rounds] for name in measures}


def seconds_of(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Wall-clock seconds of `work`, all of it done on the device too."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device | None) -> None:
    """Until a GPU has done what it was given."""
    if device and device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Row:
    """A line of the table: figures of every repeat, of ours and of what it is held against."""

    part: str
    case: str
    unit: str
    ours: list[float]
    lightly: list[float] | None = None
    limit: list[float] | None = None
    aim: str = ""

    def ratio(self, other: str) -> float | None:
        """Median of ours / `other` within a repeat, which a machine that is busy now and then disturbs least."""
        theirs = getattr(self, other)
        return theirs and median(a / b for a, b in zip(self.ours, theirs, strict=True))

    def record(self) -> dict[str, Any]:
        """All of it as data, medians and ratios included."""
        found = asdict(self)
        for name in ("ours", "lightly", "limit"):
            figures = found[name]
            found[name] = figures and {"median": median(figures), "repeats": figures}
        return found | {f"over_{name}": self.ratio(name) for name in ("lightly", "limit")}


@dataclass(frozen=True)
class OfNetwork(Row):
    """A line from which `lpla plan --bench` takes how fast the device works on any network."""

    device: str = ""
    """cpu or cuda."""
    operations: float = 0.0
    """Operations of the network's forward pass for one of the units."""

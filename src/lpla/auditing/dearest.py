"""Which setting is to blame for what a job costs: the count that is farthest above its default."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from lpla.auditing.settings import Settings
from lpla.contracts.inputs import InputError

GIB = 2**30
MIB = 2**20
DRIVERS = {
    "decoding": ("dataset",),
    "hours": ("epochs", "members", "shadows", "queries", "observe", "knowledge", "backbone", "arch", "dataset"),
    "training": ("train", "backbone", "arch", "dataset"),
    "extraction": ("queries", "observe", "backbone", "arch", "dataset"),
    "judging": ("shadows", "members", "queries", "knowledge"),
    "refits": ("permutations", "attack", "shadows", "members"),
    "disk": ("shadows", "members", "queries", "observe", "backbone", "arch"),
}
"""Settings, or groups of them, of which each part of the price is made."""


def refuse(settings: Settings, work: str, part: str, wanted: str, raised: str) -> None:
    """Raise InputError for a job that costs too much.

    Args:
        settings: The audit's.
        work: What the job does, in counts.
        part: Of the price.
        wanted: What of it the job needs, and what there is.
        raised: The setting that lifts the limit.

    Raises:
        InputError: Always.
    """
    raise InputError(f"{dearest(settings, part)} makes this job ({work}) need {wanted}; lower it, or set {raised}")


def check_decoding(settings: Settings) -> None:
    """Raise InputError where one image of the data set, at the size to which it is decoded, takes too much memory.

    All of them together need none, as they are mapped from the disk.
    """
    limit, size = settings.config.limits.memory_gb, settings.config.dataset.get("size")
    if limit is None or type(size) is not int:
        return
    from lpla.data.dataset._files import BYTES_PER_PIXEL  # which imports Pillow

    needed = BYTES_PER_PIXEL * size**2
    auto = limit == "auto"
    allowed = psutil.virtual_memory().total if auto else int(GIB * limit)
    whose = "this machine" if auto else "limits.memory_gb"
    if needed > allowed:
        wanted = f"{gib(needed)} of memory for decoding an image, of which {whose} allows {gib(allowed)}"
        raised = f"limits.memory_gb={math.ceil(needed / GIB)}, or null for no limit"
        refuse(settings, f"images of {size} x {size} pixels", "decoding", wanted, raised)


def gib(size: int) -> str:
    """Bytes in the unit that people use for so many."""
    return f"{size / GIB:,.1f} GiB" if size >= GIB / 10 else f"{size / MIB:,.1f} MiB"


def duration(seconds: float) -> str:
    """A time in the units that people use for one so long."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def free_of(folder: Path) -> int:
    """Free bytes of the disk on which a folder stands, or will stand."""
    return shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free


def dearest(settings: Settings, part: str) -> str:
    """The count among the settings that a part of the price is made of which is farthest above its default."""
    told, usual = (dict(_counts(config, DRIVERS[part])) for config in (settings.config, settings.defaults()))
    times = {name: value / usual[name] for name, value in told.items() if usual.get(name)}
    dear = max(times, key=lambda name: times[name])
    return f"{dear}={told[dear]}" if times[dear] > 1 else f"dataset={settings.choices.get('dataset')}"


def _counts(config: Any, groups: Sequence[str], above: str = "") -> Iterator[tuple[str, float]]:
    """Dotted name and value of every number that counts something (integers, and the factor of a width)."""
    for name in groups or config:
        value = config.get(name)
        if isinstance(value, Mapping):
            yield from _counts(value, (), f"{above}{name}.")
        elif type(value) is int or (name == "width" and isinstance(value, float)):
            yield f"{above}{name}", value

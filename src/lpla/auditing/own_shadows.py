"""Shadows that a user trained: a folder with `memberships.csv` and, for each of its encoders, a folder of that name.

    DIR/memberships.csv          who was trained on what, by the contents of the files
    DIR/plan.json                from where the files' names go, and the seed of each training
    DIR/shadow_1/members.txt     the list that a training is given
    DIR/shadow_1/log.txt, training.json   what it said, and how it ended
    DIR/shadow_1/encoder         the file or folder that it wrote, with any one suffix

`lpla shadows` writes all of it; `memberships.csv` and the encoders suffice where they come from elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from lpla.contracts.inputs import Images, InputError
from lpla.data.memberships import files_inside, memberships
from lpla.work.plug_in import Config

TABLE, PLAN, MEMBERS, LOG, TRAINING, ENCODER = (
    "memberships.csv", "plan.json", "members.txt", "log.txt", "training.json", "encoder",
)  # fmt: skip


@dataclass(frozen=True)
class OwnShadows:
    """The encoders by their names: the target's own settings with another file, and who of all images was inside."""

    targets: dict[str, Config]
    inside: dict[str, Bool[np.ndarray, " N"]]

    def __len__(self) -> int:
        return len(self.targets)

    def first(self, count: int) -> OwnShadows:
        """The first of them alone."""
        names = list(self.targets)[:count]
        return OwnShadows({name: self.targets[name] for name in names}, {name: self.inside[name] for name in names})


def own_shadows(folder: str, target: Config, images: Images) -> OwnShadows:
    """Read the folder that target.shadows names.

    Args:
        folder: its path.
        target: the target's settings, by which each shadow is read.
        images: the audit's.

    Raises:
        InputError: there is no such folder, a shadow is not trained or was trained on another list than
            `memberships.csv` says, or the table does not fit the files as they are.
    """
    place = Path(folder).expanduser()
    if not (place / TABLE).is_file():
        raise InputError(f"target.shadows must be a folder with {TABLE}, got {folder}, which has none")
    inside = memberships(place / TABLE, images)
    targets = {}
    for name in inside:
        _check_training(place, name)
        targets[name] = target | _where(target, encoder_of(place / name))
    return OwnShadows(targets, inside)


def encoder_of(place: Path) -> Path:
    """What a training wrote as `encoder`, whatever its suffix; raises InputError unless there is one such."""
    found = sorted(one for one in place.glob(f"{ENCODER}*") if ENCODER in (one.name, one.stem))
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise InputError(f"{place} must hold one file or folder named {ENCODER}, with or without a suffix, got {names}")
    return found[0]


def content_of(hashes: Iterable[str]) -> str:
    """The identity of a training set: SHA-256 of those of its files, in their order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def training_of(place: Path) -> dict[str, Any] | None:
    """How the training in a shadow's folder ended; None where none did."""
    record = place / TRAINING
    return json.loads(record.read_text()) if record.is_file() else None


def _check_training(folder: Path, name: str) -> None:
    """Refuse a shadow of `lpla shadows` that is not trained, or not on what the table says."""
    if not (folder / PLAN).is_file():
        return
    place, done = folder / name, training_of(folder / name)
    if done is None or done["exit"]:
        how = f"ended with exit status {done['exit']} (see {place / LOG})" if done else "has not ended"
        raise InputError(f"target.shadows={folder}: the training of {name} {how}; lpla shadows run {folder} trains it")
    if done["members"] != content_of(files_inside(folder / TABLE)[name].values()):
        raise InputError(
            f"target.shadows={folder}: {name} was trained on other images than {TABLE} says; plan in another folder"
        )


def _where(target: Config, encoder: Path) -> Config:
    """The settings that say which encoder: the file, or for a function the name that stands in the file."""
    if "call" not in target:
        return {"file": str(encoder)}
    call = encoder.read_text().strip() if encoder.is_file() and encoder.stat().st_size < 1000 else ""
    if ":" not in call:
        raise InputError(f"{encoder} must hold the name of the shadow's function, module:function, for target=python")
    return {"call": call}

"""A tiny audit that every engine test can afford: digits, a narrow network, two epochs."""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from torch import Tensor

from lpla.auditing.settings import Settings, composed
from lpla.contracts.defense import Asked, Defense
from lpla.extraction.release import Release
from lpla.work.recipe import Unit
from lpla.work.trained import Trained

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
TINY = ["members=20", "epochs=2", "train.batch_size=10", "backbone.width=0.125", "arch.hidden_dim=16"]
TINY += ["arch.output_dim=8", "queries=3", "observe.queries=4", "utility.images=60", "permutations=3"]
TINY += ["checkpoint.seconds=0"]

OF_TRAINING = ("epochs=", "train.", "backbone.", "arch.", "checkpoint.")
TINY_GIVEN = [one for one in TINY if not one.startswith(OF_TRAINING)]
"""Those that are read where the target was trained elsewhere."""


def tiny_config(*overrides: str) -> DictConfig:
    """The default configuration, made small, with `overrides`."""
    return tiny_settings(*overrides).config


def tiny_settings(*overrides: str) -> Settings:
    """The settings of a tiny audit, with `overrides`."""
    return composed([*TINY, *overrides])


def source_of(unit: Unit) -> Trained:
    """What its encoder is trained on and how."""
    assert isinstance(unit.source, Trained)
    return unit.source


def changed(unit: Unit, **settings: Any) -> Unit:
    """The unit with other settings, each in its source and in itself wherever there is one of that name."""
    own, sources = ({field.name for field in fields(one)} for one in (unit, unit.source))
    assert set(settings) <= own | sources
    source = replace(unit.source, **{name: settings[name] for name in sources & set(settings)})
    return replace(unit, **{"source": source} | {name: settings[name] for name in own & set(settings)})


def once(*arguments: str) -> list[str]:
    """The arguments of a command line, of which each setting may be given once: the last one of each."""
    return list({one.partition("=")[0] if "=" in one else one: one for one in arguments}.values())


def scores_of(folder: Path) -> dict[str, np.ndarray]:
    """What a job's `scores.npz` holds; the file is closed, which the garbage collector does too late where it can."""
    with np.load(folder / "scores.npz") as held:
        return dict(held)


def csv_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, as strings by the names of its columns."""
    with file.open() as lines:
        return list(csv.DictReader(lines))


@dataclass(frozen=True)
class _Changed(Defense):
    change: Callable[[Tensor], Tensor]

    def release(self, embedding: Tensor, asked: Asked) -> Tensor:
        return self.change(embedding)


def releasing(change: Callable[[Tensor], Tensor] | None = None) -> Release:
    """The release of an encoder whose owner changes embeddings so; None: of one who does not."""
    return Release(_Changed(change)) if change else Release()


Finished = Callable[[Callable[[Sequence[str]], int], Sequence[str], int], Path]
"""An experiment's command, its arguments and the encoders that it trains -> the folder that it left."""


class Silent:
    """Progress that nobody sees; counts what was advanced."""

    def __init__(self) -> None:
        self.tasks: dict[str, list[int]] = {}

    def begin(self, task: str, total: int) -> Callable[[int], Any]:
        self.tasks[task] = []
        return self.tasks[task].append


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str
    folder: Path
    """The newest folder below outputs/."""


def wait_for(true: Callable[[], object], seconds: float) -> None:
    """Return once it is true; a failure if it is not by then."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)

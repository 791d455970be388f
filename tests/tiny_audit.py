"""A tiny audit that every engine test can afford: digits, a narrow network, two epochs."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
TINY = ["members=20", "epochs=2", "train.batch_size=10", "backbone.width=0.125", "arch.hidden_dim=16"]
TINY += ["arch.output_dim=8", "queries=3", "observe.queries=4", "utility.images=60", "permutations=3"]


def tiny_config(*overrides: str) -> DictConfig:
    """The default configuration, made small, with `overrides`."""
    GlobalHydra.instance().clear()
    # Left initialised, as in a job: what the attacker's shadows differ in is composed when the audit is planned.
    initialize_config_dir(str(CONF), version_base="1.3")
    config = compose("config", [*TINY, *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


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

"""A tiny audit that every engine test can afford: digits, a narrow network, two epochs."""

import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from lpla.plan import Plan, plan

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
TINY = ["members=20", "epochs=2", "train.batch_size=10", "backbone.width=0.125", "arch.hidden_dim=16"]
TINY += ["arch.output_dim=8", "queries=3", "observe.queries=4", "utility.images=60", "permutations=3"]


def tiny_config(*overrides: str) -> DictConfig:
    """The default configuration, made small, with `overrides`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [*TINY, *overrides], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.fixture
def tiny() -> Callable[..., Plan]:
    """Overrides -> the plan of a tiny audit."""

    def make(*overrides: str) -> Plan:
        return plan(tiny_config(*overrides))

    return make


class Silent:
    """Progress that nobody sees; counts what was advanced."""

    def __init__(self) -> None:
        self.tasks: dict[str, list[int]] = {}

    def begin(self, task: str, total: int) -> Callable[[int], Any]:
        self.tasks[task] = []
        return self.tasks[task].append


@pytest.fixture
def silent() -> Silent:
    """A progress without a terminal."""
    return Silent()


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str
    folder: Path
    """The newest folder below outputs/."""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Callable[..., Ran]:
    """`python run.py ARGUMENTS` in an empty folder, within this process (which has the heavy imports already)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Ran:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        code = 0
        try:
            runpy.run_path(str(ROOT / "run.py"), run_name="__main__")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        out, err = capfd.readouterr()
        folders = sorted((tmp_path / "outputs").glob("*"), key=lambda folder: folder.stat().st_mtime_ns)
        return Ran(code, out, err, folders[-1] if folders else tmp_path)

    return call

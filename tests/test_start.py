"""What a command imports before it works: nothing that it has no use of (how long that takes, `make bench` prints)."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_audit import ROOT, TINY, Ran

TRAINING = {"pytorch_lightning", "lightning_fabric", "torchmetrics", "lightly", "timm", "torchvision"}
"""What takes longer to import than a job that finds everything takes to run."""
LOGGERS = {"wandb", "tensorboard", "mlflow"}
HEAVY = {"torch", "numpy", "scipy", "sklearn", "bokeh", "matplotlib"} | TRAINING | LOGGERS


def imported(*command: str, folder: Path = ROOT, code: int = 0, said: str = "") -> set[str]:
    """The top-level packages that `python COMMAND`, which says `said`, imports in a process of its own."""
    given = [sys.executable, "-X", "importtime", *command]
    ran = subprocess.run(given, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == code and said in ran.stdout + ran.stderr
    found = set(re.findall(r"^import time: [^|]*\|[^|]*\| *([\w]+)", ran.stderr, re.MULTILINE))
    assert "encodings" in found
    return found


def test_the_package_alone_imports_nothing() -> None:
    found = imported("-c", "import lpla")
    assert "lpla" in found and not found & (HEAVY | {"hydra", "omegaconf"})


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "arch: "),
        (["--cfg", "job"], 0, "queries: 10"),
        (["attak=lpla"], 1, "attak"),
        (["attack=lplaa"], 1, "lpla"),
    ],
    ids=["help", "cfg", "key", "option"],
)
def test_help_and_typing_errors_wait_for_no_library(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    found = imported(str(ROOT / "run.py"), *arguments, folder=tmp_path, code=code, said=said)
    assert "hydra" in found and not found & HEAVY


@pytest.mark.parametrize("command", ["check", "card", "plan", "serve"])
def test_help_of_a_command_waits_for_no_library(command: str) -> None:
    found = imported("-m", "lpla", command, "--help", said=f"usage: lpla {command}")
    assert not found & (HEAVY | {"hydra", "omegaconf", "httpx", "litserve"})


COLLECTOR = """
import gc, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print("collects", gc.isenabled(), "but not what was imported", gc.get_freeze_count() > 100_000)
"""


def test_a_job_that_finds_everything_imports_nothing_that_trains(cli: Callable[..., Ran], tmp_path: Path) -> None:
    settings = [*TINY, "trainer=cpu", "layer=projector"]
    assert cli(*settings).code == 0
    said = "collects True but not what was imported True"
    found = imported("-c", COLLECTOR, str(ROOT / "run.py"), *settings, folder=tmp_path, said=said)
    assert "torch" in found and not found & (TRAINING | LOGGERS | {"matplotlib", "PIL"})
    assert len(list((tmp_path / "outputs").glob("*/result.json"))) == 2

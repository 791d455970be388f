"""What `pip install .` brings: the whole command line with its configurations, outside any checkout."""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny_audit import CONF, ROOT, TINY, tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.parallel]

Lpla = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of this checkout was installed."""
    source, wheels, target = (tmp_path_factory.mktemp(name) for name in ("source", "wheels", "target"))
    # A copy, as a build leaves its folders beside what it builds, and old ones would enter the wheel.
    for name in ("src", "conf"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    subprocess.run([*pip, "wheel", *offline, "--no-build-isolation", "-w", str(wheels), str(source)], check=True)
    (wheel,) = wheels.glob("lpla-*.whl")
    subprocess.run([*pip, "install", *offline, "--target", str(target), str(wheel)], check=True)
    return target


@pytest.fixture
def environment(installed: Path) -> dict[str, str]:
    """That installation comes first, the checkout is absent; `lpla` and `python` are found."""
    path = os.pathsep.join([str(installed / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PYTHONPATH": str(installed), "PATH": path, "PS1": "$ ", "INPUTRC": os.devnull}


@pytest.fixture
def lpla(tmp_path: Path, environment: dict[str, str]) -> Lpla:
    """`python -m lpla ARGUMENTS` in an empty folder, by the installed package."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lpla", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return call


def test_every_file_of_the_configuration_comes_along(installed: Path) -> None:
    wanted = {file.relative_to(CONF): file.read_text() for file in CONF.rglob("*.yaml")}
    got = {file.relative_to(installed / "lpla" / "conf") for file in (installed / "lpla" / "conf").rglob("*.yaml")}
    assert got == set(wanted)
    assert all((installed / "lpla" / "conf" / file).read_text() == text for file, text in wanted.items())


def test_it_composes_what_the_checkout_does(lpla: Lpla, installed: Path) -> None:
    shown = lpla("--cfg", "job", *TINY)
    assert shown.returncode == 0, shown.stderr
    assert OmegaConf.create(shown.stdout) == tiny_config()
    assert "pkg://lpla.conf" in lpla("--info", "searchpath").stdout and str(ROOT) not in shown.stdout


def test_it_audits_and_claims_no_revision_of_a_checkout_around_it(lpla: Lpla, installed: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(installed)], check=True)
    ran = lpla(
        *TINY, "trainer=cpu", "knowledge.views=crops"
    )  # what the shadows differ in is composed by the job itself
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (folder,) = (tmp_path / "outputs").iterdir()
    rows = json.loads((folder / "result.json").read_text())
    assert [row["layer"] for row in rows] == ["backbone", "projector"]
    assert all(row["git_revision"] == "" and row["verdict"] and 0 <= row["auc"] <= 1 for row in rows)
    assert "untrained target" in (folder / "lpla.log").read_text()


class Terminal:
    """An interactive bash, on a terminal of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        command = ["bash", "--norc", "--noprofile", "-i"]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment, start_new_session=True
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Press them."""
        os.write(self._ours, keys.encode())

    def read_until(self, wanted: str, seconds: float = 120) -> str:
        """What appears on it until `wanted` does; fails if that takes longer."""
        seen, end = "", time.monotonic() + seconds
        while wanted not in seen:
            ready, _, _ = select.select([self._ours], [], [], max(0, end - time.monotonic()))
            assert ready, f"{wanted!r} did not appear, but {seen!r}"
            seen += os.read(self._ours, 4096).decode()
        return seen

    def close(self) -> None:
        """Leave it."""
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(request: pytest.FixtureRequest, environment: dict[str, str]) -> Iterator[Terminal]:
    """A bash in the checkout, where `run.py` lies."""
    terminal = Terminal(ROOT, environment)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("command", ["lpla", "python run.py"])
def test_bash_completes_options_and_settings(terminal: Terminal, command: str) -> None:
    terminal.type(f'eval "$({command} -sc install=bash)"; echo installed=$?\n')
    terminal.read_until("installed=0")
    terminal.type(f"{command} attack=log\t")
    terminal.read_until("attack=log_angle")
    terminal.type(" knowledge.ki\t")
    terminal.read_until("knowledge.kind=")

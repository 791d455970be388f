"""What `pip install .` brings: the whole command line with its configurations, outside any checkout."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tiny_audit import CONF, ROOT, TINY, tiny_config

pytestmark = [pytest.mark.slow, pytest.mark.parallel]

Lpla = Callable[..., subprocess.CompletedProcess[str]]


BUILD = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"
"""What `python -m build --sdist` calls, without a network."""
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
OFFLINE = ["--no-deps", "--no-index"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built of an sdist of this checkout: so the sdist has all that a wheel needs."""
    source, built = (tmp_path_factory.mktemp(name) for name in ("source", "built"))
    # A copy, as a build leaves its folders beside what it builds, and old ones would enter the wheel.
    for name in ("src", "conf"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", BUILD, str(built)], cwd=source, check=True, capture_output=True)
    (sdist,) = built.glob("lpla-*.tar.gz")
    subprocess.run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", str(built), str(sdist)], check=True)
    (found,) = built.glob("lpla-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel was installed, without the packages that it needs."""
    target = tmp_path_factory.mktemp("target")
    subprocess.run([*PIP, "install", *OFFLINE, "--target", str(target), str(wheel)], check=True)
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


def test_it_says_its_version_and_commands_without_any_other_package(installed: Path, tmp_path: Path) -> None:
    for given, code, said in ((["--version"], 0, "lpla 0."), (["chek"], 2, "did you mean check?")):
        command = [sys.executable, "-S", "-m", "lpla", *given]  # -S: without what is installed beside Python
        bare = os.environ | {"PYTHONPATH": str(installed)}
        ran = subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True, check=False)
        assert ran.returncode == code and said in ran.stdout + ran.stderr


def test_uv_runs_it_as_a_tool(wheel: Path, tmp_path: Path) -> None:
    """`uv tool run --from WHEEL lpla`, without the network; its packages, 6 GB, are left out by overrides."""
    if (uv := shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")) is None:
        pytest.skip("uv is not installed: pip install uv")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w.-]", one)[0] for one in project["dependencies"]]
    (tmp_path / "none.txt").write_text("".join(f"{name} ; python_version < '3'\n" for name in names))
    options = ["--offline", "--no-config", "--python", sys.executable, "--overrides", str(tmp_path / "none.txt")]
    command = [uv, "tool", "run", *options, "--from", str(wheel), "lpla", "--version"]
    environment = os.environ | {"UV_CACHE_DIR": str(tmp_path / "cache")}
    environment.pop("PYTHONPATH", None)
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout == f"lpla {project['version']} (installed, not a git checkout)\n", ran.stderr


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

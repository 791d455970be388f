"""The Dockerfile for the review of artefacts: what it names is there; where Docker is at hand it is built."""

import os
import re
import shutil
import subprocess

import pytest
from tiny_audit import ROOT

LINES = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).splitlines()
IGNORED = (ROOT / ".dockerignore").read_text().split()


def words(instruction: str) -> list[list[str]]:
    """The arguments of every such instruction."""
    return [line.split()[1:] for line in LINES if line.startswith(f"{instruction} ")]


def test_what_it_copies_is_there_and_is_not_ignored() -> None:
    sources = [source for copied in words("COPY") for source in copied[:-1]]
    assert len(sources) >= 8 and all((ROOT / source).exists() for source in sources)
    assert not {*sources} & {*IGNORED}


def test_what_a_setup_needs_is_copied_before_it() -> None:
    before = LINES[: LINES.index("RUN make setup")]
    copied = {source for line in before if line.startswith("COPY ") for source in line.split()[1:-1]}
    rule = re.search(r"^\$\(READY\): (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text()
    assert rule and {*rule[1].split(), "Makefile", "src", "conf"} <= copied
    assert {name for name in ("README.md", "LICENSE") if f'"{name}"' in project or name == "LICENSE"} <= copied


def test_it_runs_targets_of_the_makefile_on_a_python_that_was_tested() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert ["make", "setup"] in words("RUN") and ['["make",', '"audit"]'] in words("CMD")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in ("setup", "audit"))
    ((image,),) = words("FROM")
    version = re.fullmatch(r"python:(3\.\d+)-slim", image)
    assert version and f"Programming Language :: Python :: {version[1]}" in (ROOT / "pyproject.toml").read_text()


def test_nothing_of_a_user_enters_the_image() -> None:
    private = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert {"outputs", "store", "data", ".venv"} <= {*IGNORED} & private


@pytest.mark.slow
def test_it_is_built_and_knows_its_commands() -> None:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    asked = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip(f"docker cannot be used: {asked.stderr.strip().splitlines()[-1]}")
    if os.environ.get("LPLA_DOCKER") != "1":
        pytest.skip("the image takes 6 GB and minutes: LPLA_DOCKER=1 builds it")
    subprocess.run(["docker", "build", "--tag", "lpla-test", str(ROOT)], check=True)
    command = ["docker", "run", "--rm", "lpla-test", ".venv/bin/lpla", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("lpla 0.")

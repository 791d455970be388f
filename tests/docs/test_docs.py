"""The documentation says what is so: its commands run, its example is an attack, its reference is whole."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from textwrap import dedent
from typing import Any, cast

import numpy as np
import pytest
import yaml
from tiny_audit import ROOT, TINY, Ran

import lpla
from lpla.auditing.catalogue import options
from lpla.auditing.commands import COMMANDS
from lpla.auditing.door import as_told
from lpla.data.dataset.torchvision import Torchvision

DOCS = ROOT / "docs"
BLOCK = re.compile(r'^( *)```(\w+)(?: title="([^"]+)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
PAIR = re.compile(r'^=== "(?:Command line|Python)"\n\n((?:    .*\n|\n)+)', re.MULTILINE)
"""One of two tabs: the same audit as a command and in Python."""
PAGES = sorted(file.name for file in DOCS.glob("*.md"))


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Language, title and text of every fenced block, also of those in tabs."""
    return _fenced((DOCS / page).read_text())


def _fenced(text: str) -> list[tuple[str, str, str]]:
    return [(language, title, dedent(inside)) for _, language, title, inside in BLOCK.findall(text)]


def side_by_side(page: str) -> list[dict[str, str]]:
    """Of every pair of tabs: language -> its block."""
    tabs = [block for inside in PAIR.findall((DOCS / page).read_text()) for block in _fenced(inside)]
    return [{language: text for language, _, text in pair} for pair in zip(tabs[::2], tabs[1::2], strict=True)]


def jobs_of(commands: str) -> list[set[str]]:
    """The settings of each job that the commands run, in the order of the sweep."""
    found = []
    for words in (shlex.split(line) for line in commands.replace("\\\n", " ").splitlines()):
        if words[:1] != ["lpla"] or (words[1:2] and words[1] in COMMANDS):
            continue
        if words[1:2] != ["-m"]:
            found.append({*words[1:]})
            continue
        axes = [word.partition("=") for word in words[2:]]
        found += [
            {*job} for job in product(*([f"{name}={one}" for one in values.split(",")] for name, _, values in axes))
        ]
    return found


def files_listed(page: str) -> set[str]:
    """The names with which the first list of a page begins, and those that its items name beside them."""
    text = (DOCS / page).read_text()
    first = text[text.index("\n- ") :].partition("\n\n")[0]
    return set(re.findall(r"`([\w.]+(?:\.\w+|/))`", first))


@pytest.mark.slow
@pytest.mark.parallel
def test_the_commands_of_the_tutorial_run_in_their_order(cli: Callable[..., Ran]) -> None:
    commands = [line for language, _, text in blocks("tutorial.md") if language == "bash" for line in text.splitlines()]
    assert len(commands) >= 7
    trained = []
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "lpla"
        sweep = arguments[:1] == ["-m"]
        ran = cli(*arguments[: int(sweep)], *TINY, *arguments[int(sweep) :])
        assert ran.code == 0, f"{command}: {ran.out}{ran.err}"
        assert (ran.folder / ("table.csv" if sweep else "result.json")).exists()
        trained.append(ran.out.count("trained and observed"))
        if len(trained) == 1:
            left = {f"{one.name}/" if one.is_dir() else one.name for one in ran.folder.iterdir()}
            assert left == files_listed("tutorial.md")
    # As the page says: after the first audit only another kind of knowledge or a defense may ask for more.
    assert trained[0] > 0 and trained[1:5] == [0, 0, 0, 0]


def test_the_python_of_its_page_runs_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    program = "\n".join(text for language, _, text in blocks("python.md") if language == "python")
    # Small, and otherwise as it stands there.
    small = program.replace('lpla.audit("arch=byol"', f'lpla.audit(*{TINY!r}, "arch=byol"')
    assert small != program
    monkeypatch.chdir(tmp_path)
    exec(compile(small, "python.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.count("leaks: ") >= 2 and "AUC [95 %]" in said and "backbone 0." in said
    assert {one.name for one in tmp_path.iterdir()} == {"store"}


def test_the_shadows_in_python_of_their_page_find_the_leak(
    cifar100_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (program,) = (
        text for language, _, text in blocks("your_encoder.md") if language == "python" and "shadows =" in text
    )
    images = Torchvision(name="cifar100", root=str(cifar100_root), download=False).load().pixels[:120].numpy()
    monkeypatch.chdir(tmp_path)
    quick = program.replace('"attack=bank"', '"attack=bank", "permutations=5", "observe.queries=3"')
    quick = quick.replace("shadows=shadows)", "shadows=shadows, queries=3)")
    assert quick != program
    held = {"images": images}
    exec(compile(quick, "your_encoder.md", "exec"), held)
    (row,) = cast("Any", held["found"])
    assert row.knowledge == "labels and shadows" and row.shadows == 4 and row.verdict.startswith("leaks")
    assert "backbone" in capsys.readouterr().out


@pytest.mark.parametrize("page", [page for page in PAGES if side_by_side(page)])
def test_a_command_and_the_python_beside_it_run_the_same_audits(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def audit(*overrides: str, folder: str | None = None, **settings: Any) -> list[Any]:
        asked.append({*as_told(overrides, settings)})
        return []

    monkeypatch.setattr(lpla, "audit", audit)
    for pair in side_by_side(page):
        asked.clear()
        exec(compile(pair["python"], page, "exec"), {"lpla": lpla})
        assert asked == jobs_of(pair["bash"]) != [], pair


@pytest.mark.parametrize("page", sorted({*PAGES} - {"in_ci.md"}))
def test_every_command_has_its_python_beside_it(page: str) -> None:
    commands = [text for language, _, text in blocks(page) if language == "bash" and jobs_of(text)]
    assert [pair["bash"] for pair in side_by_side(page)] == commands


def test_the_badges_of_the_readme_are_true() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = ", ".join(one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r":: 3\.\d+$", one))
    badges = {file.stem: file.read_text() for file in (DOCS / "badges").glob("*.svg")}
    readme = (ROOT / "README.md").read_text()
    assert f"Python: {versions}" in badges["python"] and f"Python {versions}]" in readme
    assert f"licence: {project['license']['text']}" in badges["licence"]
    assert "arXiv: 2506.05743" in badges["arxiv"] and "arxiv.org/abs/2506.05743" in readme
    assert {*re.findall(r"docs/badges/(\w+)\.svg", readme)} == {*badges}


def test_the_first_page_is_short_and_its_links_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    first, _, rest = readme.partition("## How fast")
    assert rest and len(first.splitlines()) < 100
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", readme)
    assert linked and not [file for file in linked if not (ROOT / file).exists()]


def test_the_page_of_attacks_says_what_each_needs() -> None:
    """Of its table: an attack has a row by labels if it needs no shadows, and uses levels if it says so."""
    text = (DOCS / "attacks.md").read_text()
    table = text[text.index("| attack | `labels` |") :].partition("\n\n")[0].splitlines()[2:]
    cells = [[one.strip() for one in line.strip("|").split("|")] for line in table]
    assert {name.strip("`") for name, *_ in cells} == {*options("attack")} - {"all"}
    for name, by_labels, with_shadows, by_shadows in cells:
        attack = lpla.attack(name.strip("`"))
        if not attack.statistics():
            continue
        assert (by_labels == "no" or "likelihood=auto" in by_labels) == ("shadows" in attack.needs())
        assert ("without levels" in with_shadows) == (attack.takes_levels() and with_shadows != "no")
        assert (by_shadows == "yes") == ("a map of positions" not in attack.needs())


@pytest.mark.slow
@pytest.mark.parallel
def test_the_example_of_an_attack_is_two_files_and_runs(tmp_path: Path) -> None:
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True)
    files = {title: text for _, title, text in blocks("add_an_attack.md") if title}
    assert set(files) == {"src/lpla/attacks/attack/spread.py", "conf/attack/spread.yaml"}
    for title, text in files.items():
        (tmp_path / title).write_text(text)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}

    def lpla(*arguments: str) -> str:
        command = [sys.executable, "-m", "lpla", *arguments]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    assert "spread       Spread: how much the log-norm" in lpla("list", "attack")
    lpla(*TINY, "trainer=cpu", "attack=spread")
    (scores,) = (tmp_path / "outputs").glob("*/scores.npz")
    assert np.isfinite(np.load(scores)["score"]).all() and np.ptp(np.load(scores)["score"]) > 0


@pytest.mark.slow
@pytest.mark.parallel
def test_the_site_builds_without_a_warning_and_refers_to_every_public_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    reference = (tmp_path / "reference" / "index.html").read_text()
    for file in (ROOT / "src" / "lpla").rglob("*.py"):
        parts = file.relative_to(ROOT / "src").with_suffix("").parts
        if not any(part.startswith("_") for part in parts):
            assert f'id="{".".join(parts)}"' in reference, f"{'.'.join(parts)} is not in the reference"
    assert not re.findall(r'(?:src|href)="https?://[^"]*\.(?:js|css|woff2?)"', reference)


def test_ci_runs_what_the_makefile_has() -> None:
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step["run"] for step in flow["jobs"]["test"]["steps"] if "run" in step]
    targets = dict(re.findall(r"^([a-z-]+):(.*?)(?: ##.*)?$", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"make check", "make test-all"} <= set(steps) and {step.removeprefix("make ") for step in steps} <= set(
        targets
    )
    assert "test" in targets["test-all"].split()
    assert {"make check", "make test test-all"} <= set((ROOT / ".ci" / "run").read_text().splitlines())


def test_every_place_names_the_versions_of_python_that_were_tested() -> None:
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    versions = flow["jobs"]["test"]["strategy"]["matrix"]["python"]
    project = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project) == versions
    assert f'requires-python = ">={versions[0]}"' in project
    named = f"{', '.join(versions[:-1])} or {versions[-1]}"
    for file in ("README.md", "CONTRIBUTING.md", "Makefile"):
        assert f"Python {named}" in (ROOT / file).read_text(), file


def test_each_tier_has_a_marker_and_make_test_leaves_them_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    markers = [line.partition(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]]
    assert markers == ["slow", "parallel", "browser", "slurm"]
    makefile = (ROOT / "Makefile").read_text()
    tiers = [marker for marker in markers if marker != "parallel"]
    assert '-m "' + " and ".join(f"not {marker}" for marker in tiers) + '"' in makefile
    # The slow tests side by side and those one after the other are all that there are.
    assert '-m "slow and parallel"' in makefile and '-m "(slow and not parallel) or browser"' in makefile
    assert "$(MAKE) test-slurm" in makefile

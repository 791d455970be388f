"""The page on CI: its YAML is read, its commands are those of lpla, its scripts run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from left_behind import leave
from tiny_audit import ROOT

from lpla.auditing.commands import COMMANDS
from lpla.report.condition import Condition

PAGE = (ROOT / "docs" / "in_ci.md").read_text()
BLOCKS = {
    title or str(place): (language, text)
    for place, (language, title, text) in enumerate(
        re.findall(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
    )
}
FLOW: dict[str, Any] = yaml.safe_load(BLOCKS[".github/workflows/leak.yml"][1])
GITLAB: dict[str, Any] = yaml.safe_load(BLOCKS[".gitlab-ci.yml"][1])
ACTION: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "actions" / "lpla-check" / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]


def scripts() -> Iterator[str]:
    """All that the page and the action give to a shell."""
    yield from (text for language, text in BLOCKS.values() if language in ("bash", "sh"))
    yield from (step["run"] for step in [*FLOW["jobs"]["leak"]["steps"], *STEPS] if "run" in step)
    yield from GITLAB["leak"]["script"]


def commands() -> Iterator[list[str]]:
    """The arguments of every call of lpla, the shell's variables by their names alone."""
    for line in "\n".join(scripts()).splitlines():
        plain = re.sub(r"\$(\w+)", r"\1", re.sub(r'"\$\(([^)]*)\)"', r"( \1 )", line)).replace(" 2>", " >")
        lexer = shlex.shlex(plain, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        call: list[str] | None = None
        for token in [*lexer, ";"]:
            if call is not None and set(token) <= set("();<>|&"):
                yield call
                call = None
            elif token == "lpla" and call is None:
                call = []
            elif call is not None:
                call.append(token)


def test_every_command_is_one_of_lpla_with_arguments_that_it_takes() -> None:
    found = [*commands()]
    assert len(found) > 10 and {"check", "card", "hydra.run.dir=audit"} <= {words[0] for words in found}
    for words in found:
        if words[0] not in COMMANDS:
            assert OverridesParser.create().parse_overrides(words), words
            continue
        given = vars(COMMANDS[words[0]].parser("lpla").parse_args(words[1:]))
        if (condition := given.get("fail_if")) and condition != "FAIL_IF":
            Condition(condition)


def test_the_workflow_uses_the_action_and_its_inputs() -> None:
    (step,) = (one for one in FLOW["jobs"]["leak"]["steps"] if one.get("uses", "").endswith("lpla-check"))
    assert (ROOT / step["uses"] / "action.yml").is_file() and set(step["with"]) <= set(ACTION["inputs"])
    Condition(step["with"]["fail-if"])
    # A comment is written with this permission, and with no more.
    assert FLOW["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert GITLAB["leak"]["allow_failure"] == {"exit_codes": [2]}


def test_no_input_becomes_a_part_of_a_script() -> None:
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]
    assert all(step["shell"] == "bash" for step in STEPS)


@pytest.mark.parametrize(("code", "fail_if"), [(0, ""), (1, "auc > $(touch stolen)"), (2, "")])
def test_the_action_writes_card_and_code_and_ends_with_it(code: int, fail_if: str, tmp_path: Path) -> None:
    program = tmp_path / "lpla"
    program.write_text(f'#!/bin/sh\n[ "$1" = card ] && echo "## Card" && exit 0\necho "said: $*"\nexit {code}\n')
    program.chmod(0o700)
    files = {name: str(tmp_path / name) for name in ("CARD", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    given = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "FOLDER": "a folder", "FAIL_IF": fail_if, **files}

    def run(step: dict[str, Any], **more: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        return subprocess.run(command, env=given | more, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run(STEPS[0]).returncode == 0
    said = f"said: check a folder --fail-if {fail_if}" if fail_if else "said: check a folder"
    card = (tmp_path / "CARD").read_text()
    assert card.startswith("<!-- lpla check -->\n") and f"**lpla check: {code}**\n\n{said}\n\n## Card\n" in card
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == card
    assert (tmp_path / "GITHUB_OUTPUT").read_text() == f"code={code}\nsentence={said}\n"
    assert run(STEPS[-1], CODE=str(code), SENTENCE=said).returncode == code
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize("script", [*scripts()], ids=range(len([*scripts()])))
def test_each_script_is_one_that_a_shell_reads(script: str) -> None:
    assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0


def test_the_card_is_added_to_one_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub comes along with timm")
    leave(tmp_path / "audit", 0)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# My encoder\n")
    (tmp_path / "lpla").write_text(f'#!/bin/sh\nexec {sys.executable} -m lpla "$@"\n')
    (tmp_path / "lpla").chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    exec(compile(BLOCKS["add_to_card.py"][1], "add_to_card.py", "exec"), {})
    card = hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "mit" and card.data.model_name == "my-encoder" and len(card.data.eval_results) == 6
    assert card.text.index("# My encoder") < card.text.index("## Training-data leakage")

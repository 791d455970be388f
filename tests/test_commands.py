"""The commands of `lpla`: one table of them, help that explains, a version, completion, a word for what is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lpla.__main__ import main
from lpla.auditing import completion
from lpla.auditing.command_line import explain
from lpla.auditing.commands import COMMANDS, NO_COMMAND, overview, run_command
from lpla.store.provenance import git_revision

ROOT = Path(__file__).parents[1]
HEAVY = "{'torch', 'numpy', 'scipy', 'hydra', 'omegaconf', 'pytorch_lightning'}"


def lpla(*arguments: str, folder: Path = ROOT, python: tuple[str, ...] = ("-m", "lpla")) -> subprocess.CompletedProcess:
    """`python -m lpla ARGUMENTS` in a process of its own."""
    return subprocess.run(
        [sys.executable, *python, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_command([name, "--help"])
    said = capsys.readouterr().out
    assert said.startswith(f"usage: lpla {name} ") and f"lpla {name} " in said.partition("\n")[2]
    assert said.partition("\n\n")[2][0].isupper(), "a sentence says what it does"
    parser = COMMANDS[name].parser(f"lpla {name}")
    assert all(action.help for action in parser._actions if action.dest not in ("step", "command"))


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "lpla", "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as helps:
        assert helps.stdout and helps.stderr
        helps.stdout.readline()
        helps.stdout.close()
        assert helps.stderr.read() == ""


def test_help_begins_with_the_commands_and_ends_with_hydras() -> None:
    said = lpla("--help").stdout
    places = [said.index(f"\n  lpla {name} ") for name in COMMANDS] + [said.index("== Settings")]
    assert said.startswith("== Commands") and places == sorted(places)
    assert said.startswith(overview()) and "queries: 10" in said


def test_the_commands_import_nothing_heavy() -> None:
    modules = ", ".join(sorted({command.module for command in COMMANDS.values()}))
    code = f"import sys, lpla.__main__, lpla.auditing.completion, {modules}; print(sorted({HEAVY} & set(sys.modules)))"
    # `list` reads its yaml files by omegaconf, and `report` its rows.
    assert lpla("-c", code, python=()).stdout.strip() == "['omegaconf']"


def test_the_version_is_the_packages_own_with_its_revision(capsys: pytest.CaptureFixture) -> None:
    assert run_command(["--version"])
    said = capsys.readouterr().out
    assert said.startswith("lpla 0.") and (git_revision() or "not a git checkout") in said


@pytest.mark.parametrize(("word", "said"), [
    ("chek", "chek is no command of lpla; did you mean check?"),
    ("inspct", "inspct is no command of lpla; did you mean inspect?"),
    ("qqq", f"qqq is no command of lpla: these are {', '.join(COMMANDS)}; a setting is"),
])  # fmt: skip
def test_a_word_that_is_none_is_said_with_the_nearest(word: str, said: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command([word, "outputs"])
    # Not 1, by which `lpla check` says that there is a leak.
    assert ended.value.code == NO_COMMAND == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")


@pytest.mark.parametrize("given", ["attack=lpla", "chek=1", "~logger", "+train.x=1", "-m", "--cfg", ""])
def test_settings_and_options_of_hydra_are_left_to_it(given: str) -> None:
    assert not run_command([given] if given else [])


def test_a_command_among_settings_is_said_to_stand_first() -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    for word, hint in (("check", "; a command stands first: lpla check"), ("chek", "; did you mean check?")):
        with pytest.raises(OverrideParseException) as refused:
            OverridesParser.create().parse_overrides([word])
        assert explain(refused.value, ["p=1", word]) == f"a setting is given as KEY=VALUE, got {word}{hint}"


WORDS = {
    "lpla ch": ["check"],
    "lpla --v": ["--version"],
    "lpla --completion ": ["bash", "zsh"],
    "lpla shadows ": ["plan", "run"],
    "lpla views ": ["plan"],
    "lpla shadows run DIR --c": ["--command"],
    "lpla store --store x prune --d": ["--dry-run"],
    "lpla check --f": ["--fail-if"],
    "lpla check outputs/": [],
    "lpla list att": ["attack"],
    "lpla attack=lpla che": [],
}


@pytest.mark.parametrize("line", WORDS)
def test_tab_completes_commands_their_options_and_choices(line: str) -> None:
    assert completion.words(line, COMMANDS) == WORDS[line]


def test_every_command_and_every_option_is_completed() -> None:
    assert set(completion.words("lpla ", COMMANDS)) >= set(COMMANDS)
    for name, command in COMMANDS.items():
        options = {one for action in command.parser("lpla")._actions for one in action.option_strings if one[1] == "-"}
        assert set(completion.words(f"lpla {name} --", COMMANDS)) == options


def test_settings_are_completed_by_hydra() -> None:
    said = lpla("--completion", "words", "lpla attack=log").stdout.split()
    assert said == ["attack=log_angle"]


def test_an_unknown_shell_is_one_sentence(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="2"):
        run_command(["--completion", "fish"])
    assert capsys.readouterr().err == "error: --completion must be followed by bash or zsh, got fish\n"


TAB = {
    "bash": 'COMP_WORDS=(lpla store pru); COMP_CWORD=2; COMP_LINE="lpla store pru"; COMP_POINT=14; _lpla; '
    'echo "${COMPREPLY[@]}"',
    "zsh": "words=(lpla store pru); CURRENT=3; PREFIX=pru; compadd() { [[ ${@[-1]} == -- ]] || echo ${@[-1]}; }; _lpla",
}


@pytest.mark.parametrize("shell", TAB)
def test_the_script_asks_the_lpla_that_is_installed(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    program = tmp_path / "lpla"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lpla "$@"\n')
    program.chmod(0o700)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    script = f'eval "$(lpla --completion {shell})"; {TAB[shell]}'
    plain = ["--norc", "--noprofile"] if shell == "bash" else ["-f"]
    environment = os.environ | {"PATH": path, "HOME": str(tmp_path)}
    ran = subprocess.run([shell, *plain, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["prune"], ran.stderr


@pytest.mark.parametrize("module", ["lpla.store", "lpla.report"])
def test_the_modules_of_commands_run_by_themselves(module: str) -> None:
    ran = lpla("--help", python=("-m", module))
    assert ran.returncode == 0 and ran.stdout.startswith(f"usage: python -m {module} ")


def test_the_stores_folder_may_stand_before_or_after(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / ".lpla-store").touch()
    for given in (["--store", str(tmp_path), "list"], ["list", "--store", str(tmp_path)]):
        assert run_command(["store", *given])
        assert capsys.readouterr().out == "0 artifacts, 0.00 MB\n"


@pytest.mark.parametrize(("command", "needed"), [("inspect", "FILE"), ("shadows plan", "DIR")])
def test_an_argument_that_may_be_left_out_is_not_said_to_be_required(
    command: str, needed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lpla", *command.split()])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err.endswith(f"required: {needed}\n")

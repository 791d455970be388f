"""`lpla check`: 0, 1 or 2 is what the rows say, and whatever goes wrong is never "no leak" nor "leak"."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from left_behind import leave

from lpla.auditing.commands import run_command
from lpla.contracts.result import InputError
from lpla.report import check as checking
from lpla.report.check import LEAK, NO_ANSWER, NO_LEAK, check
from lpla.report.condition import Condition

NONE_FOUND = "no leak found at this sample size: AUC 0.500"


def left(folder: Path, *changes: dict[str, Any]) -> Path:
    """A job's folder whose rows, of which there are as many as `changes`, differ from usual ones by these."""
    leave(folder, 0)
    rows = json.loads((folder / "result.json").read_text())
    usual = {"leak_p": 0.001, "verdict": "leaks: the rank test decides: AUC 0.7", "nonmembers": 100}
    (folder / "result.json").write_text(json.dumps([rows[0] | {"layer": f"l{place}"} | usual | one
                                                    for place, one in enumerate(changes)]))  # fmt: skip
    return folder


LEAKS: dict[str, Any] = {}
QUIET = {"leak_p": 0.6, "verdict": NONE_FOUND}
INVALID = {"leak_p": 0.001, "verdict": "invalid: the images differ between the groups"}
UNDECIDED = {"leak_p": None, "verdict": "undecided: no test is possible"}


@pytest.mark.parametrize(("rows", "code", "said"), [
    ([QUIET, QUIET], NO_LEAK, "no leak of the encoder found at this sample size, in any of 2 rows; no leak found is"),
    ([QUIET, LEAKS], LEAK, "the encoder leaks: 1 of 2 rows says so (l1); lpla l1: leaks: the rank test decides"),
    ([INVALID, LEAKS], LEAK, "the encoder leaks: 1 of 2 rows says so (l1)"),
    ([QUIET, INVALID], NO_ANSWER, "1 of 2 rows is invalid (l1); no leak was found in the others; lpla l1: invalid"),
    ([QUIET, UNDECIDED], NO_ANSWER, "lpla l1: undecided: no test is possible"),
    ([{"verdict": ""}], NO_ANSWER, "it has no verdict"),
    ([{"leak_p": None}], LEAK, "lpla l0: leaks: the rank test decides: AUC 0.7"),
], ids=["quiet", "leak", "a leak beside", "invalid", "undecided", "no verdict", "earlier edition"])  # fmt: skip
def test_the_verdicts_decide(rows: list[dict[str, Any]], code: int, said: str, tmp_path: Path) -> None:
    found, sentence = check(left(tmp_path / "job", *rows))
    assert found == code and said in sentence and "\n" not in sentence


def test_a_leak_that_chance_explains_among_many_rows_is_undecided(tmp_path: Path) -> None:
    lucky = {"leak_p": 0.02, "seed": 99}
    rows = [lucky, *({**QUIET, "seed": seed, "auc": 0.5 + seed / 100} for seed in range(9))]
    code, sentence = check(left(tmp_path / "many", *rows))
    said = "it is undecided whether any encoder leaks: 1 of 10 rows says so (l0 seed=99), as so many rows may by chance"
    assert code == NO_ANSWER and sentence.startswith(said)
    assert check(left(tmp_path / "one", lucky))[0] == LEAK


FIGURES = {"tpr_at_5pct_low": 0.12, "tpr_at_1pct_low": None, "auc": 0.7, "auc_low": 0.6, "p": 2, "nonmembers": 100}


@pytest.mark.parametrize(("condition", "true"), [
    ("tpr_at_5pct_low > 0.1", True), ("tpr_at_5pct_low > 0.12", False), ("tpr_at_5pct_low >= 0.12", True),
    ("0.5 < auc < 0.8", True), ("not auc > 0.5", False), ("auc > .9 or auc_low > .5", True), ("p == 2", True),
    ("layer == 'backbone' and auc > .6", True), ("layer != 'backbone'", False), ("auc > -1", True),
    ("tpr_at_1pct_low > 0.1", None), ("not tpr_at_1pct_low > 0.1", None), ("0 < tpr_at_1pct_low < 1", None),
    ("tpr_at_1pct_low > 0.1 or auc > .5", True), ("tpr_at_1pct_low > 0.1 and auc > .9", False),
    ("tpr_at_1pct_low > 0.1 and auc > .5", None), ("tpr_at_1pct_low > 0.1 or auc > .9", None),
])  # fmt: skip
def test_a_condition_is_true_false_or_rests_on_what_was_not_measured(condition: str, true: bool | None) -> None:
    assert Condition(condition)(FIGURES | {"layer": "backbone"}) is true


@pytest.mark.parametrize(("condition", "said"), [
    ("tpr_at_5pc_low > 0.1", "tpr_at_5pc_low is no column of a row that can be compared; did you mean tpr_at_5pct"),
    ("auc = .1", "cannot be read"), ("", "cannot be read"), ("auc > 5%", "cannot be read"), ("auc >\0 1", "cannot be"),
    ("auc", "has auc where a comparison must stand"), ("1", "has 1 where a comparison"), ("1 > 0", "names no column"),
    ("auc + 1 > 2", "has auc + 1 where a column"), ("auc > True", "has True where a column"),
    ("__import__('os').system('true') > 0", "has __import__('os').system('true') where a column"),
    ("auc.real > 0", "has auc.real where a column"), ("[1][0] < auc", "has [1][0] where a column"),
    ("(lambda: 1)() > auc", "where a column"), ("auc in p", "compares by In"), ("auc is p", "compares by Is"),
    ("(auc := 1) > 0", "where a column"), ("layer > 'a'", "orders texts"), ("layer == 1", "a text with a number"),
    ("notes == 'x'", "notes is no column of a row that can be compared"), ("(" * 500 + "auc > 1", "cannot be read"),
    ("auc > 1 if p else 2", "where a comparison must stand"), ("auc > .1 & p > 1", "where a column"),
])  # fmt: skip
def test_what_is_no_condition_is_one_sentence_and_runs_nothing(condition: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        Condition(condition)
    assert str(refused.value).startswith("--fail-if") and said in str(refused.value)


@pytest.mark.parametrize(("rows", "condition", "code", "said"), [
    ([LEAKS, LEAKS], "auc > 0.99", NO_LEAK, "passes: auc > 0.99 is false of 2 rows, of which 2 say that they leak"),
    ([QUIET, {"auc": 0.93}], "auc > 0.9", LEAK, "fails: auc > 0.9 is true of lpla l1 (auc = 0.93)"),
    ([{"auc": 0.93}] * 3, "auc > 0.9", LEAK, "is true of lpla l0 and of 2 more"),
    ([QUIET, {**INVALID, "auc": 0.93}], "auc > 0.9", NO_ANSWER, "no answer: 1 of 2 rows is no evidence"),
    ([{**UNDECIDED, "auc": 0.5}], "auc > 0.9", NO_ANSWER, "undecided"),
    ([LEAKS], "tpr_at_1pct_low > 0.1", NO_ANSWER, "tpr_at_1pct_low was not measured in lpla l0: TPR at 1."),
    ([LEAKS], "eps_low > 1", NO_ANSWER, "eps_low was not measured in lpla l0: its notes are a note"),
    ([{"eps_low": 2.0}, {"eps_low": None}], "eps_low > 1", LEAK, "eps_low = 2"),
])  # fmt: skip
def test_a_condition_decides_in_place_of_the_verdicts(
    rows: list[dict[str, Any]], condition: str, code: int, said: str, tmp_path: Path
) -> None:
    found, sentence = check(left(tmp_path / "job", *rows), condition)
    assert found == code and said in sentence and "\n" not in sentence


def test_rows_are_chosen_by_attack_and_layer(tmp_path: Path) -> None:
    job = left(tmp_path / "job", LEAKS, {**QUIET, "attack": "bank"})
    assert check(job)[0] == LEAK
    assert check(job, attack="bank")[0] == check(job, layer="l1")[0] == NO_LEAK
    with pytest.raises(
        InputError, match=r"--attack must be one of those audited \(lpla, bank\), got bnk; did you mean"
    ):
        check(job, attack="bnk")


def test_a_job_that_failed_or_left_nothing_is_no_answer(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    for place in "01":
        left(sweep / place, QUIET)
    assert check(sweep)[0] == NO_LEAK
    (sweep / "1" / "result.json").unlink()
    left(tmp_path / "job", QUIET)
    # Also where the sweep is one of several below the folder.
    for folder in (sweep, sweep / "1", tmp_path):
        code, sentence = check(folder)
        assert code == NO_ANSWER and "left no result.json" in sentence
    left(sweep / "2", LEAKS)
    assert check(sweep)[0] == LEAK


@pytest.mark.parametrize(("content", "said"), [("[]", "has none"), ("{", "cannot be read"), (None, "neither a job")])
def test_a_folder_without_rows_ends_with_2(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(SystemExit) as ended:
        run_command(["check", str(tmp_path)])
    printed = capsys.readouterr()
    assert ended.value.code == NO_ANSWER and said in printed.out + printed.err


def test_a_failure_of_ours_does_not_say_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("layer")

    monkeypatch.setattr(checking, "check", broken)
    with pytest.raises(SystemExit) as ended:
        run_command(["check", str(tmp_path)])
    assert ended.value.code == NO_ANSWER


def test_the_exit_code_is_that_of_the_process(tmp_path: Path) -> None:
    job = left(tmp_path / "job", LEAKS)
    for condition, code in (("auc > 0.1", LEAK), ("auc > 2", NO_LEAK)):
        command = [sys.executable, "-m", "lpla", "check", str(job), "--fail-if", condition]
        assert subprocess.run(command, capture_output=True, check=False).returncode == code
    with pytest.raises(SystemExit, match="2"):
        run_command(["check", str(job), "--fail", "auc > 2"])

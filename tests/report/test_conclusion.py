"""Page, card, terminal and `lpla check` say the same of one folder: each planted case goes through every door."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from left_behind import leave

from lpla.report import outputs, people, sections, terminal
from lpla.report.card import card
from lpla.report.check import LEAK, NO_ANSWER, NO_LEAK, check
from lpla.report.conclusion import INVALID, LEAKS, NO_LEAK_FOUND, UNDECIDED, UNMEASURED, conclude
from lpla.report.formats import markdown_text

A_LEAK: dict[str, Any] = {"leak_p": 0.001, "verdict": "leaks: the rank test decides: AUC 0.7", "auc": 0.7}
LUCKY = A_LEAK | {"leak_p": 0.02}
QUIET = {"leak_p": 0.6, "verdict": "no leak found at this sample size: AUC 0.500", "auc": 0.5}
FALSE = {"leak_p": 0.001, "verdict": "invalid: the images differ", "auc": 0.9}
OPEN = {"leak_p": None, "verdict": "undecided: no test is possible", "auc": 0.6}
ABSENT = {"leak_p": None, "verdict": "", "auc": None}
FAILED = {"error": "p must be > 0, got -1"}

EXIT = {LEAKS: LEAK, NO_LEAK_FOUND: NO_LEAK}
"""All other conclusions are no answer."""
WORDS = {
    LEAKS: r"^(the encoder|\d of \d encoders?) leaks?: |^leaks: ",
    NO_LEAK_FOUND: r"^no leak (of the encoder )?found at this sample size",
    INVALID: r"^no answer: .* (is|are) invalid|^invalid: ",
    UNDECIDED: r"^it is undecided whether|^no answer: .* (undecided|without a verdict)|^undecided: |no attack was",
    UNMEASURED: r"^no answer: .*(failed|no job was measured)",
}
FIRST = {
    LEAKS: r"[^,;]*, the attack names [^;]*\.$",
    NO_LEAK_FOUND: r"; no leak found is not safety",
    INVALID: r"as the audit is invalid|; there is no answer: .* invalid",
    UNDECIDED: r"so that it is undecided whether|cannot be said: |; there is no answer: .*(undecided|without)",
    UNMEASURED: r"; there is no answer: .* failed|^$|as the audit is invalid",
}
"""What the sentence on people says with each conclusion."""


def planted(folder: Path, jobs: list[list[dict[str, Any]]]) -> Path:
    """A job's folder, or a sweep's, with a folder for each list of rows; the rows of a job are its layers."""
    for number, changes in enumerate(jobs):
        place = folder if len(jobs) == 1 else folder / str(number)
        leave(place, number, seed=number)
        row = json.loads((place / "result.json").read_text())[0]
        rows = [one if "error" in one else row | {"layer": f"l{at}"} | one for at, one in enumerate(changes)]
        (place / "result.json").write_text(json.dumps(rows))
    return folder


STRONGEST = {"attack": "lpla", "strongest": "strongest of 5 rows: lpla"}
ATTACKS = [QUIET | {"attack": name} for name in "abcd"]
CASES: dict[str, tuple[list[list[dict[str, Any]]], str]] = {
    "a leak": ([[A_LEAK]], LEAKS),
    "a leak of one layer": ([[QUIET, A_LEAK]], LEAKS),
    "a leak beside an invalid row of a higher AUC": ([[FALSE, A_LEAK]], LEAKS),
    "a leak of one seed": ([[QUIET], [A_LEAK]], LEAKS),
    "a leak and a failed job": ([[A_LEAK], [FAILED]], LEAKS),
    "no leak": ([[QUIET]], NO_LEAK_FOUND),
    "no leak of two layers": ([[QUIET, QUIET]], NO_LEAK_FOUND),
    "no leak of two seeds": ([[QUIET], [QUIET]], NO_LEAK_FOUND),
    "invalid": ([[FALSE]], INVALID),
    "one row invalid": ([[QUIET, FALSE]], INVALID),
    "one seed invalid": ([[QUIET], [FALSE], [OPEN]], INVALID),
    "undecided by its test": ([[OPEN]], UNDECIDED),
    "one row undecided": ([[QUIET, OPEN]], UNDECIDED),
    "undecided by Holm": ([[LUCKY, QUIET, QUIET]], UNDECIDED),
    "undecided by Holm over seeds": ([[LUCKY], [QUIET], [QUIET]], UNDECIDED),
    "undecided by Holm, and an invalid row": ([[LUCKY, QUIET, QUIET, FALSE]], UNDECIDED),
    "undecided by Holm, and a failed job": ([[LUCKY], [QUIET], [QUIET], [FAILED]], UNDECIDED),
    "undecided by the choice among attacks": (
        [[A_LEAK | STRONGEST | {"choice_p": 0.06}, *ATTACKS]], UNDECIDED),
    "a leak that allows for the choice": (
        [[A_LEAK | STRONGEST | {"choice_p": 0.01}, *ATTACKS]], LEAKS),
    "an attack that does not exist": ([[ABSENT]], UNDECIDED),
    "an attack that does not exist beside one that does": ([[QUIET, ABSENT]], UNDECIDED),
    "not measured": ([[FAILED]], UNMEASURED),
    "one job failed": ([[QUIET], [FAILED]], UNMEASURED),
    "invalid, and a failed job": ([[FALSE], [FAILED]], UNMEASURED),
    "all jobs failed": ([[FAILED], [FAILED]], UNMEASURED),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_door_says_the_same(case: str, tmp_path: Path) -> None:
    jobs, kind = CASES[case]
    folder = planted(tmp_path / "left", jobs)
    left = outputs.read(folder)
    concluded = conclude(left.rows)
    assert concluded.kind == kind and re.search(WORDS[kind], concluded.sentence), concluded

    code, checked = check(folder)
    assert code == EXIT.get(kind, NO_ANSWER) and "\n" not in checked
    assert len(left.rows) == 1 or checked.startswith(concluded.sentence)

    page = sections.said(left)
    assert page["kind"] == kind and concluded.sentence.lower() in page["headline"].lower()
    assert re.search(FIRST[kind], page["people"]), page["people"]
    assert page["actions"]

    printed = terminal.sentences(left.rows)
    assert any(one.endswith(concluded.sentence) for one in printed), printed

    if left.measured:
        section = unescape(card(folder)).replace("\\", "")
        assert markdown_text(concluded.sentence).replace("\\", "") in section
        spoken = people.spoken_of(left)
        assert spoken is None or people.first_sentence(spoken, left).partition(";")[0] in section


def test_the_page_of_a_leak_speaks_of_a_row_that_leaks(tmp_path: Path) -> None:
    """The highest AUC was that of an invalid row, so that the page said "invalid" where `lpla check` ended with 1."""
    left = outputs.read(planted(tmp_path / "job", [[FALSE, A_LEAK, QUIET]]))
    spoken = people.spoken_of(left)
    assert spoken is not None and spoken["layer"] == "l1"


def test_below_no_answer_the_page_does_not_say_that_there_is_no_leak(tmp_path: Path) -> None:
    """Under "no answer" the rows of an encoder of which another job had failed read "no leak of the encoder found"."""
    folder = planted(tmp_path / "left", [[QUIET, QUIET], [FAILED]])
    page = sections.said(outputs.read(folder))
    assert page["headline"].startswith("No answer: 1 of the jobs failed") and "0 of 2 rows leak" in page["tally"]
    assert "no leak" not in page["tally"].lower()

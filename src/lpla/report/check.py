"""`lpla check DIR`: the exit code that an audit means for a release, and one sentence that says why."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lpla.contracts.commands import command_parser, ending_in_one_sentence
from lpla.contracts.result import InputError, nearest
from lpla.report.rows import Row, is_evidence, short_label, telling, word

if TYPE_CHECKING:
    from lpla.report.condition import Condition

NO_LEAK, LEAK, NO_ANSWER = 0, 1, 2
"""Exit codes. All that is no answer has the one code that a release must not take for the first."""
NOT_SAFETY = "no leak found is not safety (docs/decide.md)"
HELP = """Say by the exit code what an audit found, and print one sentence that says why.

  0  no leak found in any row, or the condition of --fail-if is false of every row
  1  a row leaks, or the condition of --fail-if is true of a row
  2  no answer: a row is invalid, undecided or was not measured, a job failed, or the arguments cannot be used

Rows are all layers and attacks of the job, or of the sweep. 1 goes before 2, and 2 before 0. Without --fail-if a row
leaks if its verdict says so and chance does not explain it among so many rows (Holm's procedure over all rows at 5 %,
and of several attacks of one job the p-value of the strongest); where chance explains it, the answer is undecided.
The page, the card and the terminal say the same.
With --fail-if the condition alone decides, so that a leak may be allowed up to a bound that you set; of rows that are
invalid or undecided it is not asked, as their figures are no evidence."""
EXAMPLES = """conditions: columns of result.json and numbers, compared by < <= > >= == !=, joined by and, or and not;
texts such as a layer's name stand in quotes

examples:
  {prog} outputs/2026-01-31_12-00-00
  {prog} DIR --fail-if "tpr_at_5pct_low > 0.1"
  {prog} DIR --layer backbone --fail-if "auc_low > 0.55 or exposed_members > 0"
"""


def parser(prog: str = "lpla check") -> argparse.ArgumentParser:
    """Return the parser of `lpla check`, with its help."""
    made = command_parser(prog, HELP, EXAMPLES.format(prog=prog), allow_abbrev=False)
    made.add_argument("folder", metavar="DIR", type=Path, help="the folder of a job or of a sweep, below outputs/")
    made.add_argument(
        "--fail-if", metavar="CONDITION", help="what must not be true of any row, in place of its verdict"
    )
    made.add_argument(
        "--attack", metavar="NAME", help="judge the rows of this attack alone, as if no other had been run"
    )
    made.add_argument("--layer", metavar="NAME", help="judge the rows of this layer alone")
    return made


def show(arguments: Sequence[str], prog: str = "lpla check") -> None:
    """Print the sentence and end the process with its code; whatever goes wrong ends it with that of no answer."""
    given = parser(prog).parse_args(arguments)
    try:
        with ending_in_one_sentence(NO_ANSWER):
            code, sentence = check(given.folder, given.fail_if, attack=given.attack, layer=given.layer)
    # Python would end with 1 here, which says that there is a leak.
    except Exception:
        logging.exception("the audit could not be checked")
        sys.exit(NO_ANSWER)
    print(sentence)
    sys.exit(code)


def check(folder: Path, fail_if: str | None = None, **only: str | None) -> tuple[int, str]:
    """Say what an audit means for a release: an exit code, and the sentence that says why.

    Args:
        folder: of a job or of a sweep.
        fail_if: a condition on the columns of a row that must not be true of any; None: no row may leak.
        only: columns by whose value rows are chosen; None chooses all.

    Returns:
        0 (no leak found), 1 (leak) or 2 (no answer), and the sentence.

    Raises:
        InputError: for a folder without a job, a condition that cannot be read, or a choice that no row has.
    """
    from lpla.report.condition import Condition
    from lpla.report.outputs import rows_of_dir

    condition = None if fail_if is None else Condition(fail_if)
    rows = rows_of_dir(folder)
    failed = [row for row in rows if row.get("error")]
    measured = [row for row in rows if not row.get("error")]
    chosen = _chosen(measured, only) if measured or not failed else []
    if condition is None or not chosen:
        return _by_verdict([*chosen, *failed])
    code, sentence = _by_condition(chosen, condition)
    # What a row gives away it does, whatever the jobs that failed would have found.
    if failed and code != LEAK:
        return NO_ANSWER, f"no answer: {len(failed)} of the jobs failed; {failed[0]['error']}"
    return code, sentence


def _chosen(rows: Sequence[Row], only: dict[str, str | None]) -> list[Row]:
    """The rows of the attack and the layer that were asked for."""
    found = list(rows)
    for name, value in only.items():
        if value is None:
            continue
        known = list(dict.fromkeys(str(row.get(name)) for row in found))
        found = [row for row in found if row.get(name) == value]
        if not found:
            hint = nearest(value, known)
            raise InputError(f"--{name} must be one of those audited ({', '.join(known)}), got {value}{hint}")
    if not found:
        raise InputError("DIR must hold the rows of an audit, but its result.json has none")
    return found


def _by_verdict(rows: Sequence[Row]) -> tuple[int, str]:
    """Say by code what `conclude` says of all rows, and what the first of those that make it so says."""
    from lpla.report.conclusion import LEAKS, NO_LEAK_FOUND, UNMEASURED, conclude

    concluded = conclude(rows)
    if concluded.kind == NO_LEAK_FOUND:
        return NO_LEAK, f"{concluded.sentence}; {NOT_SAFETY}"
    code = LEAK if concluded.kind == LEAKS else NO_ANSWER
    if concluded.kind == UNMEASURED:
        return code, f"{concluded.sentence}; {concluded.rows[0]['error']}"
    first, measured = concluded.rows[0], [row for row in rows if not row.get("error")]
    own = f"{_named(first, measured)}: {first.get('verdict') or 'it has no verdict'}"
    return code, f"{concluded.sentence}; {own}" if len(rows) > 1 else own


def _by_condition(rows: Sequence[Row], condition: Condition) -> tuple[int, str]:
    open_rows = _without_answer(rows)
    asked = [row for row in rows if not any(one is row for one in open_rows)]
    found = [(row, condition(row)) for row in asked]
    if true := [row for row, one in found if one]:
        values = ", ".join(f"{name} = {_shown(true[0].get(name))}" for name in condition.columns)
        others = f" and of {len(true) - 1} more" if len(true) > 1 else ""
        return LEAK, f"fails: {condition.text} is true of {_named(true[0], rows)}{others} ({values})"
    if open_rows:
        return NO_ANSWER, _no_answer(open_rows, rows)
    if unmeasured := [row for row, one in found if one is None]:
        missing = condition.missing(unmeasured[0])
        why = _why_absent(missing[0], unmeasured[0])
        return NO_ANSWER, f"no answer: {missing[0]} was not measured in {_named(unmeasured[0], rows)}: {why}"
    leaks = sum(word(row) == "leaks" for row in rows)
    beside = f", of which {leaks} say that they leak" if leaks else ""
    return NO_LEAK, f"passes: {condition.text} is false of {_count(rows)}{beside}; {NOT_SAFETY}"


def _why_absent(column: str, row: Row) -> str:
    """Why a column of a row has no value: of a true-positive rate its own reason, else the notes of the row."""
    if rate := re.match(r"[tf]pr_at_([\d_]+)pct", column):
        from lpla.metrics.roc import tpr_absent

        if why := tpr_absent(float(rate[1].replace("_", ".")) / 100, row["nonmembers"]):
            return why
    return f"its notes are {'; '.join(row['notes'])}" if row.get("notes") else "it has no notes that say why"


def _without_answer(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not is_evidence(row)]


def _no_answer(open_rows: Sequence[Row], rows: Sequence[Row]) -> str:
    why = str(open_rows[0].get("verdict") or "it has no verdict")
    are = "is" if len(open_rows) == 1 else "are"
    return f"no answer: {len(open_rows)} of {_count(rows)} {are} no evidence; {_named(open_rows[0], rows)}: {why}"


def _count(rows: Sequence[Row]) -> str:
    return f"{len(rows)} row{'s' if len(rows) > 1 else ''}"


def _named(row: Row, rows: Sequence[Row]) -> str:
    return short_label(row, list(dict.fromkeys(["attack", *telling(rows)])))


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

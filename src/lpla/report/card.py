"""`lpla card DIR`: an audit as the section "Training-data leakage" of a model card, and as the metadata of one."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lpla.contracts.commands import command_parser, ending_in_one_sentence
from lpla.contracts.result import InputError, columns
from lpla.report import formats
from lpla.report.rows import Row, cell, chosen_columns, distinct, interval, is_evidence, number, word

HEADING = "## Training-data leakage"
NOT_SAFETY = (
    "**No leak found is not safety.** It says that these attacks, with so many images, shadows and queries, found "
    "nothing that chance could not have done; a stronger attack, or more images, may find more."
)
DESCRIBED = {
    "Audited encoder": ("arch", "backbone", "dataset", "split", "epochs", "seed", "defense"),
    "Attacker": ("attack", "likelihood", "knowledge", "shadows", "queries", "p", "norms"),
}
MOST_NAMED = 4
"""Values of a setting, at most, that are named beside the table."""
HELP = """Print an audit as a section of a model card: what was attacked and how, the verdicts, the figures with their
95 % intervals, and the nulls. With --metadata the YAML block that model hubs read (model-index) stands before it,
so that the output is the README.md of a model. Of rows that are invalid or undecided this is said, without figures."""


def parser(prog: str = "lpla card") -> argparse.ArgumentParser:
    """Return the parser of `lpla card`, with its help."""
    end = f"examples:\n  {prog} DIR >> README.md\n  {prog} DIR --metadata --model my-encoder > README.md"
    made = command_parser(prog, HELP, end)
    made.add_argument("folder", metavar="DIR", type=Path, help="the folder of a job or of a sweep, below outputs/")
    made.add_argument("--metadata", action="store_true", help="print the metadata too, as a card begins with it")
    made.add_argument("--model", metavar="NAME", help="the model's name in the metadata (default: framework-backbone)")
    return made


def show(arguments: Sequence[str], prog: str = "lpla card") -> None:
    """Print the card; a folder without an audit ends the process with one sentence."""
    given = parser(prog).parse_args(arguments)
    with ending_in_one_sentence():
        text = card(given.folder)
        if given.metadata:
            from lpla.report.hub_metadata import front_matter

            text = f"{front_matter(measured(given.folder), days(given.folder), given.model)}\n{text}"
        print(text, end="")


def measured(folder: Path) -> list[Row]:
    """Return the rows of the jobs that came to their end, each once; raises InputError where there is none."""
    from lpla.report.outputs import rows_of_dir

    rows = rows_of_dir(folder)
    found = distinct([row for row in rows if not row.get("error")])
    if not found:
        why = rows[0]["error"] if rows else "its result.json has no rows"
        raise InputError(f"DIR must hold an audit that came to its end, got {folder}: {why}")
    return found


def card(folder: Path) -> str:
    """Write the section of a model card on the audit of a job or a sweep, as Markdown.

    Raises InputError for a folder without an audit that came to its end.
    """
    from lpla.report import people
    from lpla.report.conclusion import UNMEASURED, conclude
    from lpla.report.outputs import read

    rows = measured(folder)
    left = read(folder)
    spoken = people.spoken_of(left)
    # The last paragraph says that more fully, and a card has no docs/ beside it.
    said = people.first_sentence(spoken, left).replace(f"; {people.NOT_SAFETY}", "") if spoken else ""
    concluded = conclude(left.rows)
    parts = [HEADING, formats.markdown_text(said), f"**Verdict**: {formats.markdown_text(concluded.sentence)}."]
    if left.failed and concluded.kind != UNMEASURED:
        parts.append(f"{len(left.failed)} of the jobs failed and are not part of this section.")
    lists = [*_described(rows), *_nulls(rows), *_origin(folder, rows)]
    return "\n\n".join(filter(None, [*parts, _table(rows), "\n".join(lists), NOT_SAFETY])) + "\n"


def _table(rows: Sequence[Row]) -> str:
    """A line for each row, without figures where they are no evidence; then the verdicts of these, in full."""
    chosen = list(dict.fromkeys(["attack", *chosen_columns(rows)]))
    header = [*chosen, "members / non-members", "verdict", "AUC [95 %]", "members found at 5 % false positives [95 %]"]
    body = []
    for row in rows:
        names = ("auc", "tpr_at_5pct")
        figures = [interval(*(row.get(f"{name}{end}") for end in ("", "_low", "_high"))) for name in names]
        body.append([
            *(cell(row.get(name)) for name in chosen),
            f"{row.get('members')} / {row.get('nonmembers')}",
            word(row) or "undecided",
            *(figures if is_evidence(row) else ["-", "-"]),
        ])  # fmt: skip
    silent = dict.fromkeys(str(row.get("verdict")) for row in rows if not is_evidence(row))
    said = "".join(f"\n- {formats.markdown_text(one)}" for one in silent)
    why = f"\nNo figures are given, as they are no evidence, of rows that are{said}\n" if silent else ""
    return f"{formats.markdown(header, body)}{why}".rstrip()


def _described(rows: Sequence[Row]) -> list[str]:
    """What was attacked, and by whom: the settings that all rows share."""
    found = []
    for heading, names in DESCRIBED.items():
        values = {name: {cell(row.get(name)) for row in rows} for name in names}
        said = [f"{name} {_one(own)}" for name, own in values.items() if own != {"-"}]
        found.append(f"- **{heading}**: {formats.markdown_text(', '.join(said))}")
    given = dict.fromkeys(str(row["given"]) for row in rows if row.get("given"))
    return found + [f"- **Trained elsewhere**: {formats.markdown_text(one)}" for one in given]


def _one(values: set[str]) -> str:
    return " or ".join(sorted(values)) if len(values) <= MOST_NAMED else "as in the table"


def _nulls(rows: Sequence[Row]) -> list[str]:
    """What the nulls gave, from the lowest to the highest of the rows; what was not measured is said."""
    found = ["- **Nulls** (the same measurement where no membership can be known):"]
    for name, one in columns("null", headed=True).items():
        values = sorted(row[name] for row in rows if row.get(name) is not None)
        ends = " to ".join(dict.fromkeys(number(value) for value in (*values[:1], *values[-1:])))
        if values:
            found.append(f"    - {formats.markdown_text(one.sentence.rstrip('.'))}: {ends}")
    return found if len(found) > 1 else ["- **Nulls**: none was measured"]


def _origin(folder: Path, rows: Sequence[Row]) -> list[str]:
    """The code's revision, and the days on which the jobs ended."""
    revisions = dict.fromkeys(str(row["git_revision"]) for row in rows if row.get("git_revision"))
    code = f"lpla, revision {' and '.join(revisions)}" if revisions else "lpla, of an installed package"
    return [f"- **Audited** on {' and '.join(days(folder))} by {code}"]


def days(folder: Path) -> list[str]:
    """Return the days on which the jobs below a folder ended: as they say, or by their logs, or by their files."""
    return sorted({_day(file) for file in folder.rglob("result.json")})


def _day(result: Path) -> str:
    said = result.parent / "versions.json"
    if said.exists() and (finished := json.loads(said.read_text()).get("finished")):
        return str(finished)[:10]
    log = result.parent / "lpla.log"
    text = log.read_text(errors="replace") if log.exists() else ""
    stamps = re.findall(r"^\[(\d{4}-\d{2}-\d{2}) ", text, re.MULTILINE)
    return stamps[-1] if stamps else datetime.fromtimestamp(result.stat().st_mtime, UTC).date().isoformat()

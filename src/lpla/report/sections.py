"""What the page says: the verdict, the tables, the notes, the cost and the files that it holds as downloads."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from lpla.contracts.result import columns
from lpla.report import advice, formats, people, seeds
from lpla.report.conclusion import UNMEASURED, adds_to_verdicts, conclude
from lpla.report.notes import grouped
from lpla.report.outputs import Left
from lpla.report.rows import Row, csv_text, short_label, telling
from lpla.report.table import Strings, as_strings, six, verdicts
from lpla.report.tally import tally

SCORES = 20_000
"""Scores of images and layers, at most, that the page of a job holds as a download, and counts of images."""


def said(left: Left) -> dict[str, Any]:
    """Verdicts, tables and what must be known of them, by the names of the template."""
    rows = left.measured
    if not rows:
        return _nothing(left)
    chosen, together, spoken = telling(rows), seeds.aggregate(rows), people.spoken_of(left)
    concluded, own = conclude(left.rows), _verdict_of(spoken, left, chosen)
    several = adds_to_verdicts(left.rows)
    return {
        "people": people.first_sentence(spoken, left) if spoken else "",
        "further": people.further_sentences(left),
        "headline": sentence(concluded.sentence if several else own),
        "spoken": sentence(own) if several and len(rows) > 1 else "",
        "kind": concluded.kind,
        "recipe": sentence(people.recipe_sentence(spoken, left)) if spoken else "",
        "tally": " ".join(map(sentence, tally(rows))),
        "verdicts": verdicts(rows),
        "actions": advice.actions(concluded.kind, rows),
        "about": advice.about(left),
        "six": _six(six(rows)),
        "table": _table(as_strings(rows)),
        "seeds": _seeds(together) if together else {},
        "cost": _cost(rows, chosen),
        "costs": [f"{one.heading}: {one.sentence}" for one in columns("cost", headed=True).values()],
        "notes": [*_given(rows), *grouped(rows)],
        "revisions": list(dict.fromkeys(row["git_revision"] for row in rows if row.get("git_revision"))),
    }


def _nothing(left: Left) -> dict[str, Any]:
    """The same where no job was measured."""
    found = dict.fromkeys(("people", "spoken", "recipe", "tally", "cost"), "")
    lists = {name: [] for name in ("further", "verdicts", "costs", "notes", "revisions", "seeds")}
    said = {"headline": sentence(conclude(left.rows).sentence), "kind": UNMEASURED}
    said |= {"actions": advice.actions(UNMEASURED, []), "about": {}, "table": {"html": ""}, "six": {"html": ""}}
    return found | lists | said


def sentence(words: str) -> str:
    """Words with a capital at their beginning and a full stop at their end; none where there are none."""
    words = words.strip()
    return f"{words[0].upper()}{words[1:]}{'' if words.endswith('.') else '.'}" if words else ""


def _verdict_of(spoken: Row | None, left: Left, chosen: Sequence[str]) -> str:
    """The verdict of the row of which the page speaks; of one job of several attacks, how its strongest row reads."""
    if spoken is None or spoken.get("auc") is None:
        return "no attack was defined"
    if left.single and spoken.get("strongest"):
        return spoken["strongest"]
    highest = "highest AUC, " if spoken is left.strongest()[0] else ""
    which = f"{highest}{short_label(spoken, chosen)}" if len(left.measured) > 1 else spoken["layer"]
    return f"{which}: {spoken['verdict']}"


def _six(strings: Strings) -> dict[str, Any]:
    table = formats.html(strings.header, strings.rows, left=strings.choices, trailing=1)
    # The word is what a reader looks for; an interval stays in one line on a narrow screen.
    table = re.sub(r"\[(\S+) (\S+)\]", r"[\1&nbsp;\2]", table.replace("<td>leaks</td>", '<td class="leaks">leaks</td>'))
    return {"html": Markup(table), "caption": strings.caption}


def _table(strings: Strings) -> dict[str, Any]:
    table = Markup(formats.html(strings.header, strings.rows, left=strings.choices))
    return {"title": strings.title, "html": table, "caption": strings.caption}


def _seeds(together: Sequence[Row]) -> dict[str, Any]:
    header, cells = seeds.as_cells(together)
    table = formats.html(header, cells, left=header.index("seeds"))
    return {"html": Markup(table), "caption": seeds.CAPTION}


def _given(rows: Sequence[Row]) -> list[str]:
    """Sentences on encoders that were trained elsewhere."""
    return [
        f"the encoder was trained elsewhere: {one}" for one in dict.fromkeys(r["given"] for r in rows if r.get("given"))
    ]


def _cost(rows: Sequence[Row], chosen: Sequence[str]) -> Markup:
    costs = columns("cost", headed=True)
    header = ("row", *(one.heading for one in costs.values()))
    cells = [(short_label(row, chosen), *(str(row.get(name, "-")) for name in costs)) for row in rows]
    return Markup(formats.html(header, cells, left=1))


def downloads(left: Left) -> dict[str, str]:
    """File names with their contents as links."""
    parts: dict[str, Sequence[Row]] = {"table.csv": left.rows, "curve.csv": left.curve}
    if left.single and len(left.exposed) <= SCORES:
        parts["exposed.csv"] = left.exposed
    if left.single and sum(len(one.index) for one in left.judged.values()) <= SCORES:
        parts["scores.csv"] = [
            {"attack": attack, "layer": layer, "index": i, "member": int(m), "score": s, "posterior": q, "log_norm": n}
            for (_, attack, layer), one in left.judged.items()
            for i, m, s, q, n in zip(one.index, one.member, one.score, one.posterior, one.log_norm, strict=True)
        ]
    return {name: link(rows) for name, rows in parts.items() if rows}


def link(rows: Sequence[Row]) -> str:
    """Rows as an address that holds them as CSV."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(csv_text(rows).encode()).decode()}"

"""Table 3 of ours: attacks, with what they know, against frameworks and data sets; rendered from a sweep over all.

`make reproduce-table3`, or `python -m experiments.table3 [KEY=VALUE ...] [--render FOLDER]`. Figures that somebody has
published can be set beside ours: fill in `table3_published.csv`.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments import _cells as cells
from experiments._origin import origin
from experiments._reproduce import reproduce
from lpla.contracts.inputs import InputError
from lpla.report import formats
from lpla.report.rows import Row, read_rows, write_csv

PUBLISHED = Path(__file__).with_name("table3_published.csv")
RATE, RATE_OF_FEW = "tpr_at_1pct", "tpr_at_5pct"
UTILITY = ("knn_accuracy", "linear_accuracy")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Table 3</title><style>
body {{ font: 14px sans-serif; }} caption {{ text-align: left; max-width: 60em; padding: 1em 0; }}
td, th {{ padding: .2em .6em; text-align: left; white-space: nowrap; border-bottom: 1px solid #8888; }}
</style></head><body>
{table}</body></html>
"""

Published = dict[cells.Column, dict[cells.Label, str]]
"""Figures of others by column and line."""


@dataclass(frozen=True)
class Table:
    """What a sweep says, laid out: lines by `names`, columns by data set and framework."""

    rows: Sequence[Row]
    names: Sequence[str]
    columns: Sequence[cells.Column]
    figures: tuple[str, str]
    published: Published
    notes: cells.Notes = field(default_factory=cells.Notes)

    def there(self, label: cells.Label, column: cells.Column) -> list[Row]:
        """The measured rows of one cell."""
        ours = (row for row in cells.measured(self.rows) if (row["dataset"], row["arch"]) == column)
        return [row for row in ours if cells.label(row, self.names) == label]

    def is_defined(self, label: cells.Label) -> bool:
        """Whether the attack has a score anywhere, failed where it might have one, or was published."""
        found = [row.get("auc") for column in self.columns for row in self.there(label, column)]
        is_published = any(label[:3] in lines for lines in self.published.values())
        return not found or is_published or any(auc is not None for auc in found)

    def line(self, label: cells.Label) -> list[str]:
        """One attack's line, its name first."""
        line = list(label)
        for column in self.columns:
            there = self.there(label, column)
            text = cells.figures(there, self.figures) if any(row.get("auc") is not None for row in there) else ""
            reasons = [*cells.undefined(there), *cells.failures(self.rows, column, *label[:2])]
            line.append(f"{text} {self.notes.refer(reasons)}".strip() or "-")
            if column in self.published:
                line.append(self.published[column].get(label[:3], "-"))
        return line

    def foot(self) -> list[list[str]]:
        """Utility, layer by layer: that of an encoder is the same under every attack."""
        foot = []
        for layer in dict.fromkeys(row["layer"] for row in cells.measured(self.rows)):
            line = ["utility: kNN / linear", "", layer, *("" for _ in self.names[3:])]
            for column in self.columns:
                there = [
                    r for r in cells.measured(self.rows) if (r["dataset"], r["arch"], r["layer"]) == (*column, layer)
                ]
                encoders = {cells.encoder(row): row for row in there if row.get(UTILITY[0]) is not None}
                bare = [{name: row.get(name) for name in UTILITY} for row in encoders.values()]
                line += [cells.figures(bare, UTILITY) if bare else "-", *(["-"] if column in self.published else [])]
            # All layers together have no utility of their own.
            if any(cell != "-" for cell in line[len(self.names) :]):
                foot.append(line)
        return foot

    def titles(self) -> list[str]:
        """Of all columns."""
        pairs = ((" ".join(column), f"{' '.join(column)}, published") for column in self.columns)
        both = ((one, of_others) if column in self.published else (one,)
                for (one, of_others), column in zip(pairs, self.columns, strict=True))  # fmt: skip
        return [*self.names, *(title for titles in both for title in titles)]

    def tidy(self) -> list[Row]:
        """One row per cell, for whoever computes with it; its last column says why a figure is empty."""
        found = []
        for label in cells.labels(self.rows, self.names):
            for column in self.columns:
                there = self.there(label, column)
                line = dict(zip((*self.names, *cells.COLUMNS), (*label, *column), strict=True))
                line["seeds"] = str(len(there))
                for name in ("auc", RATE_OF_FEW, RATE, *UTILITY):
                    ends = zip(("", "_low", "_high"), cells.over_seeds(there, name), strict=True)
                    line |= {f"{name}{end}": value for end, value in ends}
                why = [*cells.undefined(there), *cells.failures(self.rows, column, *label[:2])]
                found.append(line | {"why_empty": "; ".join(dict.fromkeys(why))})
        return found


def render(folder: Path, published: Path = PUBLISHED) -> list[Path]:
    """Write table3.{md,tex,html}, the table, and table3.csv, one line per cell, into a sweep's folder.

    Raises InputError if no job measured anything, or if the published figures cannot be read.
    """
    rows = cells.by_contender(read_rows(folder), folder)
    cells.require_measured(rows, folder)
    # At 1 % where a group was large enough for that, else at 5 %.
    rate = RATE if any(row.get(RATE) is not None for row in rows) else RATE_OF_FEW
    known = _published(published, rows)
    columns = list(dict.fromkeys([*cells.columns(rows), *known]))
    table = Table(rows, cells.label_names(rows), columns, ("auc", rate), known)
    labels = cells.labels(rows, table.names)
    body = [*(table.line(label) for label in labels if table.is_defined(label)), *table.foot()]
    caption = _caption(table, folder, [label for label in labels if not table.is_defined(label)])
    found = {
        "md": formats.markdown(table.titles(), body, caption),
        "tex": formats.latex(table.titles(), body, caption),
        "html": PAGE.format(table=formats.html(table.titles(), body, caption)),
    }
    for ending, text in found.items():
        (folder / f"table3.{ending}").write_text(text)
    write_csv(table.tidy(), folder / "table3.csv")
    return [folder / f"table3.{ending}" for ending in (*found, "csv")]


def _published(file: Path, rows: Sequence[Row]) -> Published:
    """Figures of others by column and line; raises InputError for a file without these columns, or unknown lines."""
    wanted = ["dataset", "arch", *cells.LABELS, "auc", RATE]
    with file.open(newline="") as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames != wanted:
            raise InputError(f"{file.name} must have the columns {','.join(wanted)}, got {reader.fieldnames}")
        given = list(reader)
    ours = {tuple(str(row.get(name)) for name in cells.LABELS) for row in cells.measured(rows)}
    found: Published = {}
    for one in given:
        label = tuple(one[name] for name in cells.LABELS)
        if label not in ours:
            lines = "; ".join(sorted(map(" ".join, ours)))
            raise InputError(f"{file.name} must name a line of the table, one of {lines}; got {' '.join(label)}")
        found.setdefault((one["dataset"], one["arch"]), {})[label] = f"{one['auc'] or '-'} / {one[RATE] or '-'}"
    return found


def _caption(table: Table, folder: Path, empty: Sequence[cells.Label]) -> str:
    ours = cells.measured(table.rows)
    seeds = sorted({row["seed"] for row in ours})
    rate = "1 % FPR" if table.figures[1] == RATE else "5 % FPR (at 1 % it needs 1000 non-members)"
    recipe = "mean [95 % interval of the recipe, none from 2 targets] over the seeds"
    spread = recipe if len(seeds) > 1 else "with the 95 % interval of seed"
    layers: dict[tuple[str, ...], list[str]] = {}
    for attack, knowledge, layer, *_ in empty:
        layers.setdefault((knowledge, layer), []).append(attack)
    undefined = "; ".join(f"with {' at '.join(where)}: {' '.join(some)}" for where, some in layers.items())
    sentences = [
        f"Membership attacks, by what they know, against frameworks and data sets. Cells: AUC / TPR at {rate}, "
        f"{spread} {', '.join(map(str, seeds))}",
        f"{_each(ours, 'members')} members against {_each(ours, 'nonmembers')} non-members of every target; "
        f"{_each(ours, 'backbone')}, {_each(ours, 'epochs')} epochs, p = {_each(ours, 'p')} where an attack has one",
        *(_budget([row for row in ours if row["knowledge"] == k]) for k in dict.fromkeys(r["knowledge"] for r in ours)),
        f"{cells.INVALID} a null test failed in a seed: table.csv says which",
        *([f"Not defined (table3.csv says why) {undefined}"] if empty else []),
        origin(folder, ours),
        *(f"({number}) {sentence}" for sentence, number in table.notes.sentences.items()),
    ]
    return ". ".join(sentences) + "."


def _budget(rows: Sequence[Row]) -> str:
    """What the attacks of one knowledge ask of a target, and what their shadows cost."""
    asked = {row["attack"]: row["target_queries"] for row in rows if row.get("auc") is not None}
    ((usual, _),) = Counter(asked.values()).most_common(1) or [(0, 0)]
    others = ", ".join(f"{attack} {queries}" for attack, queries in asked.items() if queries != usual)
    cost = f"{_each(rows, 'shadows')} shadows per target ({_each(rows, 'shadow_image_epochs')} image-epochs)"
    return f"{rows[0]['knowledge']}: {cost}, {usual} queries to the target{others and f' ({others})'}"


def _each(rows: Sequence[Row], name: str) -> str:
    return " or ".join(map(str, dict.fromkeys(row[name] for row in rows if row.get(name) is not None)))


if __name__ == "__main__":
    sys.exit(reproduce("table3", render))

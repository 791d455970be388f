"""The claim that better features mean more leakage, tested: utility against leakage over encoders.

`make reproduce-tradeoff`, or `python -m experiments.tradeoff [KEY=VALUE ...] [--render FOLDER]`. Encoders differ in
framework, backbone and training length, all else is the same; every attack of the sweep is asked by itself. Whatever
converges further gains in both, so the question is also asked at equal length, and of every checkpoint along the way.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments._cells import measured, missing
from experiments._encoders import Encoder, checkpoints, encoders
from experiments._origin import origin
from experiments._reproduce import reproduce
from experiments._scatter import draw_curves, draw_scatter
from experiments._spearman import FEWEST, Correlation, spearman
from lpla.report import formats
from lpla.report.rows import interval, read_rows, word, write_csv

UTILITIES = {"knn_accuracy": "kNN accuracy", "linear_accuracy": "linear accuracy"}
LEAKS = {"auc": "AUC", "tpr_at_1pct": "TPR at 1 % FPR", "tpr_at_5pct": "TPR at 5 % FPR"}
PRIMARY = ("knn_accuracy", "auc")
"""The pair that the sentences are on."""
SEED = 0
"""Of the bootstrap."""
CAPTION = (
    "Spearman's correlation with the percentile interval of a bootstrap that draws frameworks, not encoders: the claim "
    "is on frameworks, and encoders of one framework are alike in both. p: share, doubled, of all exchanges of whole "
    "frameworks that correlate as much. The claim needs both, and 8 frameworks. At equal length: ranks less their mean "
    "among encoders of the same length and seed. Checkpoints add points but no frameworks. The rows are not corrected "
    "for their number, nor for that of the attacks; the sentences are on kNN accuracy and AUC, which were chosen "
    "beforehand. Layers without an accuracy of their own (joint) have no line"
)


@dataclass(frozen=True)
class Question:
    """One correlation: under which attack, at which layer, over which encoders, of what with what."""

    attack: str
    layer: str
    over: str
    utility: str
    leak: str
    found: Correlation


def render(folder: Path) -> list[Path]:
    """Write tradeoff.{md,csv,svg,png} and tradeoff_curves.{svg,png} into a sweep's folder.

    Raises InputError if no job measured anything, or if encoders differ in more than the question allows.
    """
    rows = read_rows(folder)
    final, along = encoders(rows, folder), checkpoints(rows, folder)
    pairs = dict.fromkeys((e.attack, e.layer) for e in final)
    asked = [q for attack, layer in pairs for q in questions(attack, layer, final, along)]
    primary = [q for q in asked if (q.utility, q.leak) == PRIMARY and "checkpoints" not in q.over]
    titles = {(q.attack, q.layer): title(q) for q in primary if q.over == "encoders"}
    pictures = [
        *draw_scatter(final, titles, folder / "tradeoff"),
        *draw_curves([*along, *final], folder / "tradeoff_curves"),
    ]
    write_csv([e.record(kind) for kind, some in (("final", final), ("checkpoint", along)) for e in some],
              folder / "tradeoff.csv")  # fmt: skip
    invalid = sum(word(row) == "invalid" for row in rows)
    header = (
        "attack",
        "layer",
        "over",
        "utility",
        "leakage",
        "Spearman [95 %]",
        "p",
        "encoders",
        "frameworks",
        "the claim is",
    )
    text = [
        "![Utility against leakage](tradeoff.svg)",
        *map(sentence, primary),
        formats.markdown(header, [_line(question) for question in asked], CAPTION),
        "![Over training](tradeoff_curves.svg)",
        f"A null test failed in {invalid} of {len(final)} rows (see verdict in table.csv); they are kept.",
        *missing(rows),
        origin(folder, measured(rows)),
    ]
    (folder / "tradeoff.md").write_text("\n\n".join(text) + "\n")
    return [folder / "tradeoff.md", folder / "tradeoff.csv", *pictures]


def questions(attack: str, layer: str, final: Sequence[Encoder], along: Sequence[Encoder]) -> list[Question]:
    """Return every correlation under one attack at one layer, of what was measured.

    Args:
        attack: its name in `final` and `along`.
        layer: the same.
        final: all encoders at their end.
        along: all encoders before their end; may be empty.
    """
    found = []
    for over, some, stratified in (
        ("encoders", final, False),
        ("encoders at equal length", final, True),
        ("encoders and their checkpoints", [*final, *along], False),
    ):
        there = [e for e in some if (e.attack, e.layer) == (attack, layer)]
        for utility in UTILITIES:
            for leak in LEAKS:
                both = [e for e in there if e.figures.get(utility) is not None and e.figures.get(leak) is not None]
                if both and (along or "checkpoints" not in over):
                    correlation = _correlate(both, utility, leak, stratified)
                    found.append(Question(attack, layer, over, utility, leak, correlation))
    return found


def _correlate(some: Sequence[Encoder], utility: str, leak: str, stratified: bool) -> Correlation:
    x, y = (np.array([e.figures[name] for e in some], dtype=float) for name in (utility, leak))
    strata = [(e.epochs, e.seed) for e in some] if stratified else None
    return spearman(x, y, [e.arch for e in some], SEED, strata, [(e.backbone, e.seed, e.epochs, e.epoch) for e in some])


def sentence(question: Question) -> str:
    """What interval and exchange say of the claim: supported, contradicted, or undecided at this size."""
    found = question.found
    scale = f"{found.encoders} encoders of {found.clusters} frameworks"
    over = f"{scale}{question.over.removeprefix('encoders')}"
    pair = f"{UTILITIES[question.utility]} and {LEAKS[question.leak]}"
    start = f"{question.attack}, {question.layer}, {verdict(found)}: over {over}, Spearman's correlation of {pair}"
    if found.value is None:
        return f"{start} does not exist, as one of the two does not vary."
    start += f" is {interval(found.value, found.low, found.high)}"
    unequal = "whole frameworks cannot be exchanged, as not all were trained alike"
    start += f" ({unequal if found.p is None else f'whole frameworks exchanged: p = {found.p:.2g}'})"
    if found.decides:
        side, more = ("above", "more") if found.low > 0 else ("below", "less")
        return f"{start}, {side} 0: encoders with better features leak {more}."
    if found.clusters < FEWEST:
        return (
            f"{start}; that describes these {found.clusters} frameworks alone, as fewer than {FEWEST} decide nothing."
        )
    return f"{start}, which chance may make."


def title(question: Question) -> str:
    """Name a panel of the picture: attack, layer, the correlation and what it decides."""
    found = question.found
    value = "no correlation" if found.value is None else interval(found.value, found.low, found.high)
    return f"{question.attack}, {question.layer}\nSpearman {value}: {verdict(found)}"


def verdict(found: Correlation) -> str:
    """Say the claim's standing in words."""
    if not found.decides:
        return "undecided at this size"
    return "supported" if found.low > 0 else "contradicted"


def _line(question: Question) -> list[str]:
    found = question.found
    return [
        question.attack,
        question.layer,
        question.over,
        UTILITIES[question.utility],
        LEAKS[question.leak],
        interval(found.value, found.low, found.high),
        "-" if found.p is None else f"{found.p:.2g}",
        str(found.encoders),
        str(found.clusters),
        verdict(found),
    ]


if __name__ == "__main__":
    sys.exit(reproduce("tradeoff", render))

"""Whether the best attack of a sweep is better than the others on the same target, by DeLong's paired test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.table import Table

from lpla.metrics.compare import paired_auc
from lpla.metrics.intervals import spread_of
from lpla.report.rows import (
    OF_ATTACKER,
    SETTINGS,
    UNUSED,
    Row,
    cell,
    choices,
    differing,
    interval,
    target_choices,
    telling,
)  # fmt: skip
from lpla.report.table import Strings
from lpla.report.terminal import WIDEST, as_table

CAPTION = (
    "AUC of the best attack less that of another on the same images, DeLong's paired test. The best was chosen on "
    "these same scores, so the differences lie too high; the intervals of all pairs of attacks on this target hold "
    "together with 95 %, and corrected is p times the number of these pairs (Bonferroni): both stand although the best "
    "was chosen. Several targets are not corrected for."
)


def compare(rows: Sequence[Row], folder: Path) -> list[Row]:
    """The best attack of every target against each other one, from the `scores.npz` of the jobs in `folder`.

    Rows have the same target if they agree in the choices that make it, in every other setting that is not the
    attacker's, and in the candidates and their membership. Rows without an AUC (undefined attacks, failed jobs) take no
    part, nor do targets with a single member or non-member, nor an attack that uses neither p nor the number of queries
    once more where these alone differ.
    """
    target = _target()
    targets: dict[tuple[Any, ...], list[tuple[Row, np.ndarray, np.ndarray]]] = {}
    for row in map(_split_settings, rows):
        if row.get("auc") is not None:
            index, member, score = _scores(folder / row["job"], row["attack"], row["layer"])
            key = (*(cell(row.get(c)) for c in target), index.tobytes(), member.tobytes())
            attacks = targets.setdefault(key, [])
            if min(member.sum(), (~member).sum()) > 1 and not any(_repeats(row, score, *other) for other in attacks):
                attacks.append((row, member, score))
    return [pair for attacks in targets.values() if attacks for pair in _against_best(attacks)]


def _target() -> list[str]:
    return [*target_choices(), "target_settings"]


def _attack() -> list[str]:
    """What attacks on one target may differ in."""
    return [*(c for c in choices() if c not in (*target_choices(), SETTINGS)), "attack_settings"]


def _repeats(row: Row, score: Float[np.ndarray, " N"], other: Row, _: np.ndarray, others: np.ndarray) -> bool:
    """Whether an attack has the same scores under another p or budget, which it then does not use."""
    same = [name for name in _attack() if name not in UNUSED]
    return np.array_equal(score, others) and all(cell(row.get(one)) == cell(other.get(one)) for one in same)


def _split_settings(row: Row) -> Row:
    settings = row.get("settings", ())
    ours = [one for one in settings if one.lstrip("+~").startswith(OF_ATTACKER)]
    return {**row, "attack_settings": ours, "target_settings": [one for one in settings if one not in ours]}


def _scores(job: Path, attack: str, layer: str) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, " N"]]:
    with np.load(job / "scores.npz", allow_pickle=False) as held:
        # A file of one attack may not name it.
        attacks = held["attack"] if "attack" in held else np.full(len(held["layer"]), attack)
        place = np.flatnonzero((attacks == attack) & (held["layer"] == layer))[0]
        return held["index"], held["member"], held["score"][place]


def _against_best(attacks: Sequence[tuple[Row, np.ndarray, np.ndarray]]) -> list[Row]:
    rows = [row for row, _, _ in attacks]
    told = [*telling(rows), "attack_settings"]
    # What an attack's name says, or its fit chose by itself, tells no attack from another.
    columns = [one for one in differing(rows, _attack()) if one in told]
    best, member, best_score = max(attacks, key=lambda attack: attack[0]["auc"])
    pairs = len(attacks) * (len(attacks) - 1) // 2
    found = []
    for row, _, score in attacks:
        if row is best:
            continue
        # By labels either side's scores spread the difference, whichever of the two is the best.
        spread = max(spread_of(str(one.get("knowledge"))) for one in (best, row))
        difference, p = paired_auc(best_score, score, member, pairs, spread)
        found.append(
            {c: cell(best.get(c)) for c in _target() if c in best}
            | {"best_job": best["job"], "best": _label(best, columns), "job": row["job"], "other": _label(row, columns)}
            | {"difference": difference.value, "difference_low": difference.low, "difference_high": difference.high}
            | {"p": p, "p_corrected": min(p * pairs, 1.0)}
        )
    return found


def _label(row: Row, columns: Sequence[str]) -> str:
    words = (cell(row.get(c)) if c in ("attack", "attack_settings") else f"{c}={cell(row.get(c))}" for c in columns)
    return " ".join(word for word in words if word) or f"job {row['job']}"


def render(rows: Sequence[Row], wide: int = WIDEST) -> Table:
    """The comparisons as a terminal table."""
    columns = differing(rows, _target())
    header = (*columns, "best", "other", "difference [95 %]", "p", "corrected")
    cells = []
    for row in rows:
        difference = interval(*(row[f"difference{end}"] for end in ("", "_low", "_high")))
        p = (f"{row[name]:.2g}" for name in ("p", "p_corrected"))
        cells.append((*(str(row[c]) for c in (*columns, "best", "other")), difference, *p))
    strings = Strings("best attack against the others", len(columns) + 2, header, tuple(cells), CAPTION)
    return as_table(strings, wide)

"""What a row says of people: how many images the attack names, what that costs outsiders, what it does not say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lpla.contracts.streams import stream
from lpla.metrics.epsilon import epsilon_bound
from lpla.metrics.exposed import PRECISION
from lpla.metrics.folder import folder_power, folder_test
from lpla.metrics.intervals import by_labels
from lpla.report.conclusion import LEAKS, NO_LEAK_FOUND, conclude
from lpla.report.family import FAMILY_LEVEL, recipe_p
from lpla.report.outputs import Judged, Left, whose
from lpla.report.rows import Row, is_evidence, number, word

OUTSIDERS = 5
"""Outsiders of 100 who may be wrongly accused: the false-positive rate of the first sentence."""
NOT_SAFETY = "no leak found is not safety: what is left to do stands below"
PRIORS = {0.1: "10pct", 0.01: "1pct"}
FOLDERS = (10, 100, 1_000)
"""Images of a folder for which the power of the folder test is said."""
MOST = 1_000
"""Images on a side, at most, with which the page makes that test."""


def spoken_of(left: Left) -> Row | None:
    """The row of which the page speaks: of several attacks of one job the strongest, else that of the highest AUC.

    Where there is a leak, or chance may explain one, it is among the rows that say so, else among those with evidence.
    """
    concluded = conclude(left.rows)
    leaks = [row for row in concluded.rows if word(row) == LEAKS]
    silent = [row for row in concluded.rows if not row.get("error")]
    among = leaks or [row for row in left.measured if is_evidence(row)] or silent or left.measured
    named = [row for row in among if left.single and row.get("strongest")]
    defined = sorted((row for row in among if row.get("auc") is not None), key=lambda row: -row["auc"])
    return next(iter([*named, *defined, *among]), None)


def first_sentence(row: Row, left: Left | None = None) -> str:
    """How many of the members the attack names, where 5 of 100 outsiders may be wrongly accused.

    Args:
        row: of which the page speaks.
        left: all rows of the page, of which that one was chosen by what it found; None: there is no other.
    """
    kind, _, reason = str(row.get("verdict") or "").partition(": ")
    if row.get("auc") is None or kind == "undecided":
        return f"How many images the attack names cannot be said: {reason or 'no attack was defined'}."
    if kind == "invalid":
        return f"How many images the attack names cannot be said, as the audit is invalid: {reason}."
    end = _end(kind, left)
    if row.get("tpr_at_5pct") is None:
        said = _by_pairs(row)
        return said[0].upper() + said[1:] + (f"; {end}." if end else ".")
    members, guess = row["members"], round(OUTSIDERS * row["members"] / 100)
    value, low, high = (round(row[f"tpr_at_5pct{end}"] * members) for end in ("", "_low", "_high"))
    said = (
        f"If {OUTSIDERS} of 100 outsiders may be wrongly accused, the attack names {value} of the {members:,} images "
        f"it was trained on ({low} to {high}){_over_retrainings(row)}"
    )
    if end:
        return f"{said}, where a guess names {guess}; {end}."
    if low <= guess:
        return f"{said}, where a guess names {guess}, but all images together leak: {_by_pairs(row)}."
    return f"{said}."


def _end(kind: str, left: Left | None) -> str:
    """What the first sentence ends with, by the conclusion from all rows; nothing where they leak."""
    concluded = None if left is None else conclude(left.rows)
    said = kind if concluded is None else concluded.kind
    if said == LEAKS:
        return ""
    if left is None or concluded is None or said == NO_LEAK_FOUND:
        return NOT_SAFETY
    if kind == LEAKS:
        found = f"the best of {len(left.measured)} rows may find as much by chance"
        return f"{found}, so that it is undecided whether there is a leak"
    return f"there is {concluded.sentence}"


def recipe_sentence(row: Row, left: Left) -> str:
    """The verdict of the row's recipe, and what is left of it as the row was chosen among all those of the page."""
    said = str(row.get("recipe_verdict") or "")
    family = recipe_p(left.measured)
    own = next((p for one, p in family if one is row), None)
    if own is None or len(family) < 2:
        return said
    outlasts = "" if own < FAMILY_LEVEL or not said.startswith("recipe leaks") else ", so that chance may have made it"
    return f"{said}. This row was chosen among {len(family)}; Holm's p over their recipes is {own:.2g}{outlasts}"


def _over_retrainings(row: Row) -> str:
    """The interval of the recipe, in images."""
    ends = [row.get(f"recipe_tpr_at_5pct_{end}") for end in ("low", "high")]
    if None in ends or str(row.get("recipe_verdict")).startswith("recipe invalid"):
        return ""
    low, high = (round(end * row["members"]) for end in ends if end is not None)
    return f"; over retrainings {low} to {high}"


def _by_pairs(row: Row) -> str:
    value, low, high = (f"{100 * row[f'auc{end}']:.0f}" for end in ("", "_low", "_high"))
    return (
        "shown an image it was trained on and one it was not, the attack tells which is which in "
        f"{value} of 100 cases ({low} to {high}), a guess in 50"
    )


def further_sentences(left: Left) -> list[str]:
    """What the page of one job says below its first sentence, of the same row; nothing of one that is invalid."""
    row = spoken_of(left)
    if not left.single or row is None or not str(row.get("verdict")).startswith(("leaks", "no leak")):
        return []
    judged = left.judged.get(whose(row))
    # Rows of earlier editions do not say of how many they are one.
    rows = row.get("compared") or sum(one.get("auc") is not None for one in left.measured)
    found = [*_exposed(row), *_stable(left, row)]
    if judged is not None and not np.isnan(judged.score).any():
        found = [*_epsilon(row, judged, rows), *found, _folder(row, judged, rows)]
    if rows > 1 and not by_labels(row["knowledge"]):
        found.append(f"All bounds, counts and p-values of this section allow for the row's being chosen among {rows}.")
    return found


def _epsilon(row: Row, judged: Judged, rows: int) -> list[str]:
    """The bound, which allows for the choice of the row among `rows`; none in rows of earlier editions."""
    if "eps_low" not in row:
        return []
    if row["eps_low"] is None:
        return [f"No bound on epsilon: {_no_bound(row)}."]
    bound = str(epsilon_bound(judged.score, judged.member, row["seed"], rows))
    blank = row["null_untrained_eps_low"]
    null = f"contradict an epsilon below {blank:.2f}, as one in twenty does by chance" if blank else "contradict none"
    return [f"{bound} An untrained encoder's scores {null}."]


def _no_bound(row: Row) -> str:
    if row.get("split") != "given" and not row.get("given"):
        return "the attack learnt from the labels of the very images that it guesses at, each from those of the others"
    return "a list of members that was handed in is no random draw"


def _exposed(row: Row) -> list[str]:
    """The counts at a threshold that the shadows set, and where none is honest."""
    if "exposed_members" not in row:
        return []
    members, named = row["members"], row["exposed_members"]
    if by_labels(row["knowledge"]):
        how = "no threshold can be set without their own membership; an audit with shadows alone counts them"
        return [f"Single images were not counted, as by labels {how} (knowledge.kind=shadows)."]
    why = "on the shadows no threshold names images of which 90 % are members"
    if not row.get("shadows"):
        why = "there are no shadows whose scores could set a threshold"
    honest = f"no honest count of single images: {why}"
    if named is not None:
        honest = f"{named} of {members:,} members are named at a threshold that the shadows set"
        if (precision := row["exposed_precision"]) is not None:
            ends = (number(row[f"exposed_precision_{end}"]) for end in ("low", "high"))
            honest += f", precision {number(precision)} [{' '.join(ends)}]"
            if row["exposed_precision_high"] < PRECISION:
                honest += f", below the {PRECISION:.0%} that the threshold was set for: this count is not to be used"
        blank = (row[f"null_untrained_exposed_{side}"] for side in ("members", "nonmembers"))
        honest += "; under an untrained encoder {} members and {} non-members would be".format(*blank)
    rare = [_rare(row, prior, name) for prior, name in PRIORS.items()]
    return [f"Where half of the images in question are members: {honest}. {' '.join(rare)}"]


def _rare(row: Row, prior: float, name: str) -> str:
    said = f"Where 1 in {1 / prior:.0f} is a member: "
    if (count := row[f"exposed_members_prior_{name}"]) is None:
        return said + "no honest count at this prior."
    precision = row[f"exposed_precision_prior_{name}"]
    return f"{said}{count} of {row['members']:,}" + ("." if precision is None else f", precision {number(precision)}.")


def _stable(left: Left, row: Row) -> list[str]:
    """How many images are named in every retraining that held them."""
    own = [one for one in left.exposed if (one["attack"], one["layer"]) == (row["attack"], row["layer"])]
    held = [one for one in own if one["retrainings"]]
    most = max((one["retrainings"] for one in held), default=0)
    if most < 2:
        return []
    always = sum(one["named"] == one["retrainings"] > 1 for one in held)
    ever = sum(one["named"] > 0 for one in held)
    wrongly = sum(one["named_without"] > 0 for one in own)
    if not ever + wrongly:
        return [f"None of {len(own):,} images is named in any of the retrainings (exposed.csv)."]
    return [
        f"Of {len(held):,} images that up to {most} retrainings held, {ever} are named in at least one of these and "
        f"{always} in every one of several; {wrongly} are named, wrongly, in one that did not hold them (exposed.csv)."
    ]


def _folder(row: Row, judged: Judged, rows: int) -> str:
    """The test of all members together against the non-members, and its power at other sizes."""
    if by_labels(row["knowledge"]):
        return "A whole folder: no test, as each image's score was learnt from the labels of the others."
    random = stream("images of the folder test", 0)
    inside, outside = (_some(judged.score[side], random) for side in (judged.member, ~judged.member))
    found = folder_test(inside, outside, choices=rows)
    powers = (folder_power(inside, outside, size, rows) for size in FOLDERS)
    power = [
        "{:.0f} ({:.0f} to {:.0f})".format(*(100 * end for end in (one.value, one.low, one.high))) for one in powers
    ]
    sizes, said = [f"{one:,}" for one in FOLDERS], str(found)
    return (
        f"A whole folder: as one, {said[0].lower()}{said[1:]} Folders of {_listed(sizes)} images that are "
        "drawn from these members, each against as many of these non-members, would be found in "
        f"{_listed(power)} of 100 cases."
    )


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _some(score: Float[np.ndarray, " n"], random: np.random.Generator) -> Float[np.ndarray, " k"]:
    return score if len(score) <= MOST else random.choice(score, MOST, replace=False)

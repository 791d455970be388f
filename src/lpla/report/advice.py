"""What follows from a verdict, as a short list, and what an audit did and did not test, as the page says them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, metadata

from lpla.report.conclusion import INVALID, LEAKS, UNDECIDED, UNMEASURED
from lpla.report.outputs import Left, dates
from lpla.report.rows import Row, cell, is_evidence, short_label, target_choices, telling, word

UNTESTED = (
    "Attacks that are not in the table, and attackers with more views, more shadows or other knowledge than these rows",
    "Other releases of the same encoder: another layer, fine-tuned weights, gradients, a training that was watched",
)
"""What no audit here says anything of."""


@dataclass(frozen=True)
class Advice:
    """One thing to do, what a reader must know to do it, and the document that says more."""

    text: str
    more: str = ""
    """A short explanation, as who is given the page may not have the documents."""
    page: str = ""
    address: str = ""
    """Address of the document on the web; empty where the package names no site of its documents."""


def actions(kind: str, rows: Sequence[Row]) -> list[Advice]:
    """What to do about a conclusion (of `lpla.report.conclusion`) from the measured rows, most urgent first."""
    of = {LEAKS: _of_leak, INVALID: _of_invalid, UNDECIDED: _of_undecided, UNMEASURED: _of_unmeasured}
    return [replace(one, address=_address(one.page)) for one in of.get(kind, _of_nothing)(rows)]


def _of_leak(rows: Sequence[Row]) -> list[Advice]:
    found = [
        Advice(
            "Treat membership as disclosed to whoever can ask the encoder; release it only if that is acceptable.",
            "Whoever has an image and its embeddings learns whether the image was in the training set: of one image as "
            "surely as the first sentence says, of many images of one origin, such as a person's folder, more surely.",
            "docs/decide.md",
        )
    ]
    leaking = {str(row.get("layer")) for row in rows if word(row) == LEAKS}
    others = {str(row.get("layer")) for row in rows if is_evidence(row)} - leaking
    if leaking and others:
        which = f"{' and '.join(sorted(others))} alone"
        file = "Cut the file down to that layer and audit what is left, as it would be released."
        found.append(Advice(f"No row of {which} leaks: a release of it is worth an audit of its own.", file))
    return [
        *found,
        Advice(
            "Change the recipe and audit again: more members, fewer epochs, stronger augmentation.",
            "An encoder remembers an image less, the more images there are and the fewer times it saw each. Compare at "
            "least three seeds of the old recipe with three of the new one (lpla -m seed=0,1,2), as one training may "
            "happen to leak more than the next.",
            "docs/tradeoff.md",
        ),
        Advice(
            "Give less away: fewer views answered per image, or a defence (lpla list defense).",
            "An interface can limit how often it answers and what it answers, for instance vectors of length 1. Audit "
            "it so (queries=N, defense=NAME): only an attacker who knows of a defence shows what the defence is worth.",
            "docs/defences.md",
        ),
    ]


def _of_invalid(rows: Sequence[Row]) -> list[Advice]:
    which = "the numbers of invalid rows" if any(map(is_evidence, rows)) else "these numbers"
    return [
        Advice(
            f"Do not use {which} in either direction: something other than membership tells the groups apart.",
            "The verdict names it: for instance how the images were stored, or an encoder that never saw the images "
            "and tells the groups apart all the same. What an attack finds may be that difference.",
            "docs/decide.md",
        ),
        Advice(
            "Repair what the verdict names, most often how members and non-members were collected, and audit again.",
            "Draw both at random from one source before the training, and have them saved by one program; lists from "
            "two sources can be told apart without any encoder.",
            "docs/your_encoder.md",
        ),
    ]


def _of_undecided(rows: Sequence[Row]) -> list[Advice]:
    return [
        Advice(
            "Read nothing into it: the audit could not have decided.",
            "With so few images, or as the best of so many rows, the same comes out with a leak and without one.",
            "docs/decide.md",
        ),
        Advice(
            "Audit with more members and non-members, another seed or the strongest attack alone.",
            "Four times as many images halve the intervals (members=N). An attack that is named beforehand "
            "(attack=NAME, with another seed) needs no correction for having been chosen among others.",
            "docs/limits.md",
        ),
    ]


def _of_unmeasured(rows: Sequence[Row]) -> list[Advice]:
    return [
        Advice("Read nothing into the other rows until the jobs that failed have come to their end."),
        Advice("Mend what the jobs that failed say, and give the same command again: it makes only what is missing."),
    ]


def _of_nothing(rows: Sequence[Row]) -> list[Advice]:
    found = [
        Advice(
            "Do not call the encoder safe: the upper ends of the intervals are what it may still give away.",
            "A leak can be there and not be found: with 100 members and as many non-members, one of an AUC of .60 is "
            "found in 6 of 10 audits with shadows.",
            "docs/decide.md",
        )
    ]
    if len({row.get("attack") for row in rows}) == 1:
        more = "attack=all runs every attack that is quickly fitted; more shadows (shadows=8) show more of each image."
        stronger = "Ask a stronger attacker: attack=all, more shadows, every layer that is released."
        found.append(Advice(stronger, more, "docs/attacks.md"))
    more = "Four times as many members and non-members (members=N) halve the intervals."
    larger = "Audit with more images, if a smaller leak than these intervals would matter."
    return [*found, Advice(larger, more, "docs/limits.md")]


def _address(page: str) -> str:
    """Where the document is on the web, if the installed package says where its documents are."""
    try:
        urls = metadata("lpla").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    sites = (one.partition(", ")[2] for one in urls if one.lower().startswith("documentation, "))
    site = next(sites, "").rstrip("/")
    return f"{site}/{page.removeprefix('docs/').removesuffix('.md')}/" if site and page else ""


def about(left: Left) -> dict[str, list[str]]:
    """Heading -> sentences: the data, the encoders, the attacks, the day, and what was not tested."""
    rows = left.measured
    if not rows:
        return {}
    found = {
        "Data": _each(_data(row) for row in rows),
        "Encoder": _each(_encoder(row) for row in rows),
        "Attacker": _each(_attacker(row) for row in rows),
        "Attacks": [", ".join(dict.fromkeys(str(row["attack"]) for row in rows))],
        "Date": [" to ".join(dates(left))] if dates(left) else [],
        "Folder": [left.folder.resolve().name],
        "Not tested": [*_unchecked(rows), *UNTESTED],
    }
    return {name: said for name, said in found.items() if said}


MOST = 6
"""Sentences on data, encoders or attackers that a page spells out."""


def _each(sentences: object) -> list[str]:
    there = list(dict.fromkeys(sentences))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return there if len(there) <= MOST else [*there[:MOST], f"and {len(there) - MOST} more"]


def _data(row: Row) -> str:
    return str(row.get("data") or row.get("dataset") or "not named")


def _encoder(row: Row) -> str:
    if row.get("given"):
        return f"Trained elsewhere: {row['given']}"
    layers = f"{row.get('members', '?')} members, {row.get('epochs', '?')} epochs, seed {row.get('seed', '?')}"
    defense = row.get("defense") or "none"
    said = f"{row.get('arch')} on {row.get('backbone')}, {layers}"
    return said + ("" if defense == "none" else f", defence {defense}")


def _attacker(row: Row) -> str:
    shadows = f"{row.get('shadows')} shadows" if row.get("shadows") else "no shadows"
    return f"Knowledge: {row.get('knowledge') or 'not named'}; {shadows}, {row.get('queries')} views of each image"


def _unchecked(rows: Sequence[Row]) -> list[str]:
    """The nulls that verdicts say were not checked, each with the rows where that is so."""
    names, found = telling(rows), dict[str, list[str]]()
    for row in rows:
        _, _, what = str(row.get("verdict") or "").rpartition("; not checked: ")
        if "; not checked: " in str(row.get("verdict") or ""):
            found.setdefault(what, []).append(short_label(row, names))
    return [
        f"Null{'s' if ', ' in what else ''} not checked: {what} "
        f"({'all rows' if len(among) == len(rows) else f'{len(among)} of {len(rows)} rows'})"
        for what, among in found.items()
    ]


def title(left: Left) -> str:
    """What was audited, in the words of its rows: one encoder, or how many jobs of what."""
    rows = left.measured
    if not rows:
        return f"Audit {left.folder.resolve().name}"
    shared = {name: cell(rows[0].get(name)) for name in target_choices()
              if len({cell(row.get(name)) for row in rows}) == 1}  # fmt: skip
    what = " ".join(shared[name] for name in ("arch", "backbone") if shared.get(name, "-") != "-") or "encoders"
    data = f" on {shared['dataset']}" if shared.get("dataset", "-") != "-" else ""
    jobs = len({row["job"] for row in left.rows})
    return f"{what}{data}" + ("" if left.single else f": {jobs} jobs")

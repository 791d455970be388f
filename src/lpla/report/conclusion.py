"""What the rows of a job or a sweep say together: the one rule that page, card, terminal and `lpla check` read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lpla.contracts.settings import listed
from lpla.report.family import FAMILY_LEVEL, by_encoder, leaking
from lpla.report.rows import Row, distinct, is_evidence, short_label, telling, word

LEAKS, NO_LEAK_FOUND = "leaks", "no leak found at this sample size"
INVALID, UNDECIDED, UNMEASURED = "invalid", "undecided", "not measured"


@dataclass(frozen=True)
class Conclusion:
    """What is to be said of all rows together, and because of which of them."""

    kind: str
    """One of the words above; only the first two are answers."""
    rows: list[Row]
    """Rows that make it so."""
    sentence: str


def conclude(rows: Sequence[Row]) -> Conclusion:
    """Draw the conclusion from the rows that jobs left, those of failed jobs (with an `error`) among them.

    A leak is one, whatever the other rows say, if chance does not explain it among so many. Where chance does, where a
    job failed, and where a row is no evidence, there is no answer. Else no leak was found.
    """
    failed, measured = [row for row in rows if row.get("error")], _measured(rows)
    said = [row for row in measured if word(row) == LEAKS]
    if leaks := certain(measured):
        return Conclusion(LEAKS, leaks, _leak(leaks, said, measured))
    if said:
        return Conclusion(UNDECIDED, said, _chance(said, measured))
    if failed or not measured:
        return Conclusion(UNMEASURED, failed, _failed(failed, measured))
    if silent := [row for row in measured if not is_evidence(row)]:
        invalid = [row for row in silent if word(row) == INVALID]
        return Conclusion(INVALID if invalid else UNDECIDED, invalid or silent, _silent(silent, measured))
    return Conclusion(NO_LEAK_FOUND, measured, _nothing(measured))


def adds_to_verdicts(rows: Sequence[Row]) -> bool:
    """Return whether the conclusion says what no row's verdict does: there is not just one, or it has none."""
    return len(_measured(rows)) != 1 or any(row.get("error") or not word(row) for row in rows)


def certain(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that leak although they are many.

    Where the strongest of several attacks of one job has a p-value that allows for its choice, that p-value decides.
    """
    chosen = _chosen(rows)
    if chosen is None:
        return leaking(rows)
    if chosen["choice_p"] >= FAMILY_LEVEL:
        return []
    return [chosen] if word(chosen) == LEAKS else leaking(rows)


def _chosen(rows: Sequence[Row]) -> Row | None:
    """The strongest of several attacks of one job; None where none was chosen, or the chosen row is invalid."""
    found = [row for row in rows if row.get("choice_p") is not None and word(row) != INVALID]
    alone = len({row.get("job") for row in rows}) == 1 and len({row.get("attack") for row in rows}) > 1
    return found[0] if len(found) == 1 and alone else None


def _measured(rows: Sequence[Row]) -> list[Row]:
    return distinct([row for row in rows if not row.get("error")])


def _leak(leaks: Sequence[Row], said: Sequence[Row], rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return str(leaks[0]["verdict"])
    fewer = f", {len(leaks)} of them after Holm's correction for {len(rows)} rows"
    return f"{_subject(leaks, rows)}: {_say_so(said, rows)}" + (
        fewer if len(leaks) < len(said) and _chosen(rows) is None else ""
    )


def _chance(said: Sequence[Row], rows: Sequence[Row]) -> str:
    chosen = _chosen(rows)
    p = "" if chosen is None else f" (p = {chosen['choice_p']:.2g} for the strongest, which allows for its choice)"
    which = "the encoder" if len(by_encoder(rows)) == 1 else "any encoder"
    return f"it is undecided whether {which} leaks: {_say_so(said, rows)}, as so many rows may by chance{p}"


def _say_so(said: Sequence[Row], rows: Sequence[Row]) -> str:
    return f"{len(said)} of {len(rows)} rows {'says' if len(said) == 1 else 'say'} so ({_listed(said, rows)})"


def _failed(failed: Sequence[Row], rows: Sequence[Row]) -> str:
    if not rows:
        return "no answer: no job was measured"
    return f"no answer: {len(failed)} of the jobs failed, and none of the {len(rows)} rows of the others says leaks"


def _silent(silent: Sequence[Row], rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return str(rows[0].get("verdict") or "no answer: no attack was defined")
    known = (INVALID, UNDECIDED)
    counts = Counter(word(row) if word(row) in known else "without a verdict on an AUC" for row in silent)
    which = listed(
        [f"{count} of {len(rows)} rows {'is' if count == 1 else 'are'} {one}" for one, count in counts.items()]
    )
    others = "; no leak was found in the others" if len(silent) < len(rows) else ""
    return f"no answer: {which} ({_listed(silent, rows)}){others}"


def _nothing(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return str(rows[0]["verdict"])
    of = "of the encoder " if len(by_encoder(rows)) == 1 else ""
    return f"no leak {of}found at this sample size, in any of {len(rows)} rows"


def _subject(leaks: Sequence[Row], rows: Sequence[Row]) -> str:
    """Who leaks: the encoder, or of several as many as have one of the rows that leak although there are so many."""
    encoders = by_encoder(rows)
    if len(encoders) == 1:
        return "the encoder leaks"
    held = sum(any(one is row for one in leaks for row in group) for group in encoders)
    return f"{held} of {len(encoders)} encoders {'leaks' if held == 1 else 'leak'}"


def _listed(some: Sequence[Row], rows: Sequence[Row]) -> str:
    names = telling(rows)
    return listed([short_label(row, names) for row in some], most=3)

"""What one field of a row is, in the words by which tables, captions, figures and loggers take it.

Imports nothing but the standard library, so that a report reads rows without torch.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

Kind = Literal["choice", "figure", "bound", "utility", "null", "cost", "count", "text"]


@dataclass(frozen=True)
class Column:
    """What one field of a row is; every table, caption, figure and logger takes its columns by these words."""

    kind: Kind
    sentence: str
    """What the number is, for captions, tooltips and the documentation."""
    heading: str = ""
    """The short head of the column; empty for what only `result.json` and the CSV hold."""
    whose: Literal["", "target", "attack", "fit"] = ""
    """For a choice: whether it makes the target, makes the attack, or is what the attack's fit took by itself."""
    axis: str = ""
    """For a choice along which figures are drawn: what the axis says."""
    plain: bool = False
    """For a choice: whether its value explains itself in a legend, without the name of the choice."""
    interval: bool = False
    """Whether the fields `<name>_low` and `<name>_high` hold its 95 % interval."""
    over_seeds: bool = False
    """Whether a sweep over seeds says its median and its range."""


def column(kind: Kind, sentence: str, heading: str = "", *, default: Any = MISSING, **more: Any) -> Any:
    """Make a field of a row; adding one, and computing it, is all that a new column takes.

    Args:
        kind: Whether it is a choice, a figure, a null and so on.
        sentence: What the column means.
        heading: Heading in the table; empty: the table leaves the column out.
        default: The field's default, if it has one.
        more: Further words of `Column`.

    Returns:
        A dataclass field that carries them.
    """
    return field(default=default, metadata={"column": Column(kind, sentence, heading, **more)})


def choice(whose: Literal["target", "attack"], heading: str, sentence: str, **more: Any) -> Any:
    """Make a field for a choice that makes the target or the attack.

    Args:
        whose: Which of the two.
        heading: Heading in the table.
        sentence: What the choice means.
        more: Further words of `Column`.

    Returns:
        A dataclass field, as of `column`.
    """
    return column("choice", sentence, heading, whose=whose, **more)


def measured(kind: Kind, sentence: str, heading: str = "", **more: Any) -> Any:
    """Make a field for a number that is None where it could not be measured.

    Args:
        kind: Kind of the number.
        sentence: What it means.
        heading: Heading in the table.
        more: Further words of `Column`.

    Returns:
        A dataclass field, as of `column`.
    """
    return column(kind, sentence, heading, default=None, **more)


def low_end() -> Any:
    """Return the lower bound of the figure before it."""
    return measured("bound", "Lower end of the 95 % interval.")


def high_end() -> Any:
    """Return the upper bound of the same figure."""
    return measured("bound", "Upper end of the 95 % interval.")

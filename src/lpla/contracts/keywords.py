"""What keywords a constructor takes, also where it hands on by `**` what it knows nothing of itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lpla.contracts.settings import SettingError, all_known


def check_names(kind: type, settings: Mapping[str, Any], handed_on: Sequence[Callable[..., Any]] = ()) -> None:
    """Check that the constructor of some class has a keyword for each setting.

    Args:
        kind: the class. What it takes by `**`, and of itself knows nothing of, it hands on: to the classes that it is
            derived from, or elsewhere.
        settings: its keywords.
        handed_on: where else; without them a class passes that would take any keyword.

    Raises:
        SettingError: If a setting is none of these keywords.
    """
    inherited = [vars(one)["__init__"] for one in kind.__mro__ if "__init__" in vars(one)][1:]
    known = _keywords([kind, *inherited])
    if known is None and handed_on:
        known = [name for one in (kind, *handed_on) for name in _named_keywords(one)]
    for name in settings:
        if known is not None and name not in known:
            raise SettingError((name,), f"is no setting{all_known(known)}", known)


def _keywords(constructors: Iterable[Callable[..., Any]]) -> list[str] | None:
    """What the first of these takes, with what it hands on to the next; None where that is anything."""
    found: list[str] = []
    for one in constructors:
        if one is object.__init__:
            break
        found += _named_keywords(one)
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(one).parameters.values()):
            return found
    return None


def _named_keywords(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    named = [one.name for one in parameters if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return [name for name in named if name != "self"]

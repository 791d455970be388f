"""The Python door, behind `lpla.audit` and `lpla.attack`: an audit, or an attack on its own, by names and keywords."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lpla.auditing import job
from lpla.auditing.catalogue import CONF, options
from lpla.auditing.settings import Settings, composed
from lpla.contracts.evidence import Attack
from lpla.contracts.result import InputError
from lpla.contracts.settings import shown
from lpla.report.results import Results
from lpla.work.plug_in import plug_in


def audit(*overrides: str, folder: str | Path | None = None, **settings: Any) -> Results:
    """Audit an encoder: what `python run.py OVERRIDES` does, with the rows as objects.

    Encoders that the store holds already are found there, so a second call trains nothing. Hydra's global state, if a
    program uses it for something else, stays as it was.

    Args:
        overrides: Settings and choices as on the command line, such as "arch=byol" or "train.batch_size=100".
        folder: Where a job's files (`result.json`, `scores.npz`, `report.html` and so on) are written; it must not
            hold those of another job. None: nothing is written beside the store.
        settings: The same as keywords, such as `p=1`; a mapping sets what stands below (`train={"batch_size": 100}`).

    Returns:
        A sequence with a row (`AuditResult`) for each layer, which prints itself as a table.

    Raises:
        InputError: If a setting cannot be used; the sentence says which, what was expected and what was got. `folder`
            then holds it in `result.json`, as after a command.
    """
    told = composed(as_told(overrides, settings))
    if folder is None:
        return job.audit(_without_files(told), None)
    place = _prepared(folder, told)
    try:
        rows = job.audit(told, place)
    except InputError as mistake:
        job.write_refusal(place, told.overrides, str(mistake))
        raise
    page = job.write_page(place)
    return Results(rows, page.read_text(encoding="utf-8") if page else "")


def _prepared(folder: Any, told: Settings) -> Path:
    """The job's folder, as Hydra leaves it: the report says from there how to repeat the job."""
    if not isinstance(folder, str | Path) or not str(folder).strip():
        raise InputError(f"folder must be a path, got {shown(folder)}")
    if not str(folder).strip():
        raise InputError("folder must be the path of a folder or None, got an empty text")
    place = Path(folder)
    try:
        if (place / "result.json").exists():
            raise InputError(f"folder must not hold the files of another audit, got {place}, which has a result.json")
        (place / ".hydra").mkdir(parents=True, exist_ok=True)
        OmegaConf.save(told.config, place / ".hydra" / "config.yaml")
        OmegaConf.save(OmegaConf.create(list(told.overrides)), place / ".hydra" / "overrides.yaml")
    except (OSError, ValueError) as refused:
        if isinstance(refused, InputError):
            raise
        why = getattr(refused, "strerror", None) or refused
        raise InputError(
            f"folder must be a folder this user can write, but {place} cannot be used ({why})"
        ) from refused
    return place


def attack(name: str, /, **settings: Any) -> Attack:
    """Make an attack by its name, as it is configured by default but for `settings`.

    Args:
        name: An option of the group `attack`, such as "lpla"; `python -m lpla list attack` shows them.
        settings: Keywords of the attack's constructor, such as `p=2`.

    Returns:
        The attack, which learns by `fit(shadows)` and scores by `score(target)`.

    Raises:
        InputError: If there is no such attack or keyword, with the nearest one, or if a value cannot be used.
    """
    known = options("attack")
    if not isinstance(name, str) or name not in known:
        nearest = _nearest(name, known) if isinstance(name, str) else ""
        raise InputError(f"attack must be one of {', '.join(known)}, got {name}{nearest}")
    whole = OmegaConf.load(CONF / "config.yaml")
    own = OmegaConf.load(CONF / "attack" / f"{name}.yaml")
    keywords = [str(key) for key in own if not str(key).startswith("_")]
    for keyword in settings:
        if keyword not in keywords:
            raise InputError(
                f"attack={name} has no setting {keyword}{_nearest(keyword, keywords)}; it has {', '.join(keywords)}"
            )
    # Values of the attack that refer to an audit's (p, ps, queries) take those that an audit has by default.
    config: Any = OmegaConf.to_container(OmegaConf.merge(whole, {"attack": own}).attack, resolve=True)
    found = plug_in(config | settings)
    if not isinstance(found, Attack):
        raise InputError(f"attack={name} stands for many attacks, which only an audit runs: name one attack")
    return found


def _without_files(told: Settings) -> Settings:
    """The settings of an audit that writes no files; raises InputError for one that was asked for files."""
    config = told.config
    kind = told.choices.get("logger")
    for name, asked in {
        f"logger={kind}": bool(config.get("logger")) and kind != "csv",
        "report.images=true": bool(config.report.images),
        f"observe.every={config.observe.every}": config.observe.every is not None,
    }.items():
        if asked:
            raise InputError(f"folder must be given with {name}, which writes files, got none")
    return told


def as_told(overrides: Sequence[Any], settings: Mapping[str, Any]) -> list[str]:
    """Settings and keywords, mappings within these too, as on the command line; InputError for what is no text."""
    for one in overrides:
        if not isinstance(one, str):
            raise InputError(f'settings must be texts such as "p=1", or keywords, got {shown(one)}')
    return [*overrides, *(f"{name}={value}" for name, value in _flat(settings).items())]


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Dotted name -> value in Hydra's grammar."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{name}.")
        else:
            found[above + name] = written(value)
    return found


def written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    text = str(value)
    if isinstance(value, int | float) or re.fullmatch(r"[\w./+-]+", text):
        return text
    # By Hydra's grammar a backslash is itself but before a quote.
    quoted = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text)
    return f"'{quoted}'"


def _nearest(name: str, known: Any) -> str:
    found = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (the nearest is {found[0]})" if found else ""

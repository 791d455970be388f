"""Mistakes on the command line, found before a job begins: one sentence each, with the most similar key."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from lpla.auditing.commands import misplaced

CONF = Path(__file__).parents[1] / "conf"
WHOLE_ERRORS = "HYDRA_FULL_ERROR"
"""The environment's variable at which Hydra raises what it finds; otherwise it prints several lines and ends."""
SWEEP = ("-m", "--multirun")
SUCCESSORS = {("attack", "ensemble"): "bank"}
"""What an option that has gone became."""

_set_here: list[str] = []
"""The variable, while it was not the user who set it; the environment is the process's, and so is this."""


@contextmanager
def one_sentence() -> Iterator[None]:
    """Within, a command line that Hydra cannot use ends the process with one sentence; `-m` may stand anywhere.

    A user who has set HYDRA_FULL_ERROR=1 gets the whole stack.
    """
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in SWEEP)
    if os.environ.get(WHOLE_ERRORS) == "1":
        yield
        return
    os.environ[WHOLE_ERRORS] = "1"
    _set_here.append(WHOLE_ERRORS)
    try:
        check_once(sys.argv[1:])
        check_choices(sys.argv[1:])
        yield
    except (HydraException, OmegaConfBaseException, ValueError) as mistake:
        print(f"error: {explain(mistake, sys.argv[1:])}", file=sys.stderr)
        sys.exit(1)
    finally:
        job_begins()


def check_once(arguments: Sequence[str]) -> None:
    """Raise InputError for a setting or choice that is given twice, of which Hydra would drop the first unsaid."""
    from lpla.contracts.result import InputError

    given: dict[str, str] = {}
    for argument in arguments:
        key, assigned, _ = argument.partition("=")
        if not assigned or key.startswith("-"):
            continue
        if (name := key.lstrip("+~")) in given:
            both = f"{given[name]} and {argument}"
            raise InputError(f"{name} must be given once, got {both}; several values are swept by -m {name}=A,B")
        given[name] = argument


def check_choices(arguments: Sequence[str]) -> None:
    """Raise InputError for what is no option of a group, and for taking away what every audit needs."""
    from lpla.contracts.result import InputError

    groups = _groups()
    for argument in arguments:
        key = argument.partition("=")[0]
        name = key.lstrip("+~").partition("@")[0]
        if key.startswith("~") and _is_needed(name):
            raise InputError(
                f"{name} cannot be taken away by {argument}, as every audit needs it: left alone, it keeps its default"
            )
        if name not in groups or key.startswith("~"):
            continue
        (override,) = OverridesParser.create().parse_overrides([argument])
        value: Any = override.value()
        # What else is swept than a list, such as glob(*), is Hydra's to check.
        options = getattr(value, "list", ["option"]) if override.is_sweep_override() else [value]
        if not all(isinstance(one, str) and one for one in options):
            got = argument.partition("=")[2] or "nothing"
            raise InputError(f"{name} must be one of {', '.join(_options(name))}, got {got}")


def _groups() -> set[str]:
    return {folder.name for folder in CONF.iterdir() if any(folder.glob("*.yaml"))}


def _options(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _is_needed(key: str) -> bool:
    """Whether `config.yaml` has a setting itself, or a group of which it chooses an option that no audit lacks."""
    config: Any = OmegaConf.load(CONF / "config.yaml")
    chosen = {
        group for one in config.defaults if isinstance(one, DictConfig) for group, option in one.items() if option
    }
    return key in chosen - {"logger"} or _has(config, key.split("."))


class SweepCheck(Callback):
    """A Hydra callback: before the first job of a sweep, the settings of every one are held to their types."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """End the process with one sentence for the first job that could not begin; nothing is written."""
        loader, jobs = GlobalHydra.instance().config_loader(), _jobs(config)
        if len(jobs) < 2:
            return
        from lpla.auditing.checks import typed
        from lpla.contracts.result import InputError

        for number, overrides in enumerate(jobs):
            job = loader.load_sweep_config(config, overrides)
            with open_dict(job):
                job.pop("hydra")
            try:
                typed(job)
            except InputError as mistake:
                print(f"error: job {number} ({' '.join(overrides)}): {mistake}; no job was begun", file=sys.stderr)
                sys.exit(1)


def _jobs(config: DictConfig) -> list[list[str]]:
    """The overrides of every job of a sweep, by Hydra's own rules; none under another sweeper than its basic one."""
    if config.hydra.sweeper._target_ != f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
        return []
    axes = [f"{axis}={values}" for axis, values in (config.hydra.sweeper.params or {}).items()]
    axes += config.hydra.overrides.task
    parsed = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(axes)
    (batch,) = BasicSweeper.split_arguments(parsed, None)
    return [list(job) for job in batch]


def job_begins() -> None:
    """Say that the command line was understood: from here on errors are the job's, shown as the user set it."""
    while _set_here:
        os.environ.pop(_set_here.pop(), None)


def explain(mistake: Exception, arguments: Sequence[str]) -> str:
    """The sentence on a command line of these arguments that Hydra refused."""
    from lpla.contracts.result import MISPLACED, nearest  # of mistakes alone, not of every start

    said = " ".join(str(mistake).split())
    if isinstance(mistake, OverrideParseException):
        return _quoted(mistake.override)
    if found := re.match(r"Ambiguous value for argument '(.*?)' 1\. ", said):
        return f"{_quoted(found[1])}; several values to sweep need -m"
    if found := re.search(r"Could not override '([^']+)'", said):
        hint = f"; did you mean {MISPLACED[found[1]]}?" if found[1] in MISPLACED else _of_another_option(found[1])
        hint = hint or nearest(found[1], sorted(_known(arguments)))
        return f"{found[1]} is no setting{hint or ' of this audit; `--help` shows them all'}"
    if found := re.match(r"Error merging override ([^=\s]+)=(.*)", said):
        key, value = found.groups()
        return (
            f"{key} must keep the kind of value that it has (a single value, a list, or settings by name), got {value}"
        )
    if found := re.search(r"Could not find '([\w/]+/[^'/]+)'", said):
        group, _, option = found[1].rpartition("/")
        while not (CONF / group).is_dir():  # as of arch=simclr/foo
            group, _, above = group.rpartition("/")
            option = f"{above}/{option}"
        options = _options(group)
        became = SUCCESSORS.get((group, option))
        hint = f"; it became {became}" if became else nearest(option, options)
        return f"{group} must be one of {', '.join(options)}, got {option}{hint}"
    return said


def _of_another_option(key: str) -> str:
    """The clause that names the options which have a setting; empty where none has."""
    group, _, setting = key.partition(".")
    files = sorted((CONF / group).glob("*.yaml")) if setting else []
    having = [f"{group}={file.stem}" for file in files if _has(OmegaConf.load(file), setting.split("."))]
    return f" under the options chosen here: it is one of {' and '.join(having)}" if having else ""


def _has(config: Any, keys: Sequence[str]) -> bool:
    if not keys:
        return True
    return isinstance(config, DictConfig) and keys[0] in config and _has(config._get_node(keys[0]), keys[1:])


def _quoted(override: str | None) -> str:
    """How a value with a character that Hydra reads as its own is written."""
    key, given, value = str(override).partition("=")
    if not given:
        return f"a setting is given as KEY=VALUE, got {override}{misplaced(str(override))}"
    return f"a value with a comma, an equals sign, a space or the like must be quoted twice: '{key}=\"{value}\"'"


def _known(arguments: Sequence[str]) -> set[str]:
    """Every setting under the options that are chosen, at any depth, and every group."""
    groups = _groups()
    chosen = []
    for argument in arguments:
        group, _, option = argument.partition("=")
        if group in groups and (CONF / group / f"{option}.yaml").exists():
            chosen.append(argument)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
        return groups | set(_keys(compose("config", chosen)))


def _keys(config: Any, above: str = "") -> Iterator[str]:
    if isinstance(config, DictConfig):
        for key in config:
            yield f"{above}{key}"
            yield from _keys(config._get_node(key), f"{above}{key}.")

"""What there is to choose from: the options of every configuration group, each in one line; imports none of them."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lpla.contracts.commands import command_parser

PACKAGE = Path(__file__).parents[1]
CONF = PACKAGE / "conf"
SENTENCE = re.compile(r"(?<=[.!?])(?<!et al\.)(?<!vs\.)(?<!e\.g\.)(?<!i\.e\.) ")
"""What lies between two sentences."""


def groups() -> list[str]:
    """The names of the groups, Hydra's own not among them."""
    return sorted(folder.name for folder in CONF.iterdir() if any(folder.glob("*.yaml")))


def options(group: str) -> dict[str, str]:
    """Option -> its line: what its file of the same name says first, or else the comment that opens its yaml."""
    return {file.stem: _line(group, file) for file in sorted((CONF / group).glob("*.yaml"))}


def needs(attack: str) -> tuple[str, ...]:
    """What an attack needs by its default settings: the `NEEDS` of its class, read from its file."""
    for node in ast.walk(ast.parse((PACKAGE / "attacks" / "attack" / f"{attack}.py").read_text())):
        if isinstance(node, ast.Assign) and any(
            isinstance(one, ast.Name) and one.id == "NEEDS" for one in node.targets
        ):
            return ast.literal_eval(node.value)
    return ()


def defaults() -> dict[str, str | None]:
    """Group -> the option that an audit takes unless told otherwise; None: none."""
    chosen = _load(CONF / "config.yaml").defaults
    return {str(group): option for one in chosen if isinstance(one, DictConfig) for group, option in one.items()}


def _load(file: Path) -> DictConfig:
    config = OmegaConf.load(file)
    assert isinstance(config, DictConfig), f"{file} holds no settings"
    return config


def _line(group: str, file: Path) -> str:
    target = str(_load(file).get("_target_", ""))
    package, _, name = target.partition(".")
    module, _, _ = name.rpartition(".")
    if package == "lpla" and module.split(".")[1:] == [group, file.stem]:
        source = (PACKAGE / Path(*module.split("."))).with_suffix(".py").read_text()
        return _first_sentence((ast.get_docstring(ast.parse(source)) or "").partition("\n\n")[0])
    return _comment(file) or target


def _comment(file: Path) -> str:
    """The first sentence of the comment that opens a yaml, `# @package` not being one."""
    opening = []
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            opening.append(line.lstrip("# "))
    return _first_sentence(" ".join(opening))


def _first_sentence(text: str) -> str:
    """The text up to the first full stop that ends a sentence, in one line; one of `et al.` or of `vs.` ends none."""
    return SENTENCE.split(" ".join(text.split()), maxsplit=1)[0]


def parser(prog: str = "lpla list") -> argparse.ArgumentParser:
    """Return the parser of `lpla list`, with its help."""
    described = "List what can be chosen for an audit, each choice in one line; * marks what is taken by default."
    end = f"example: {prog} attack\nChoose one by GROUP=OPTION, as in lpla attack=bank."
    made = command_parser(prog, described, end)
    made.add_argument(
        "group",
        metavar="GROUP",
        nargs="?",
        choices=groups(),
        help=f"one group alone, of {', '.join(groups())} (default: all)",
    )
    return made


def show(arguments: Sequence[str], prog: str = "lpla list") -> None:
    """Print the groups that are named in `arguments`, or all; the default of each is marked."""
    group = parser(prog).parse_args(arguments).group
    chosen = defaults()
    for one in [group] if group else groups():
        print(f"{one}:")
        found = options(one)
        width = max(map(len, found))
        for option, line in found.items():
            print(f"  {'*' if chosen.get(one) == option else ' '} {option:{width}}  {line}".rstrip())
            if needed := needs(option) if one == "attack" else ():
                print(f"    {'':{width}}  needs {' and '.join(needed)}")
    print("* taken by default; choose with GROUP=OPTION")

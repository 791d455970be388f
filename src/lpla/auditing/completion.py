"""What TAB completes after `lpla`: commands, their options and choices, and, by Hydra, the settings of an audit.

`lpla --completion bash` and `lpla --completion zsh` print a short script, which asks `lpla --completion words LINE` at
every TAB: so the words are those of the lpla that is installed, without a package that would have to be installed too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

BASH = r"""# lpla in bash: eval "$(lpla --completion bash)", in ~/.bashrc for good.
_lpla() {
    COMPREPLY=($(lpla --completion words "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    # The name of a setting or group goes on; every other word is whole.
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[=.] ]]; then compopt -o nospace 2>/dev/null; fi
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o default -F _lpla lpla
"""
ZSH = r"""# lpla in zsh: eval "$(lpla --completion zsh)", in ~/.zshrc for good.
_lpla() {
    local -a found
    found=($(lpla --completion words "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null))
    if (( ! $#found )); then _files; return; fi
    compadd -S '' -- ${(M)found:#*[=.]}
    compadd -- ${found:#*[=.]}
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _lpla lpla
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH}
WORDS = "words"
OF_LPLA = ("--help", "--version", "--completion")
"""Options that stand in a command's place."""


def show(arguments: Sequence[str], commands: Mapping[str, Any]) -> bool:
    """Print a shell's script, or the words that may follow a line; return whether Hydra is to add settings.

    It is told by its own arguments and environment. Any other word ends the process with one sentence.
    """
    if len(arguments) == 2 and arguments[0] == WORDS:
        print(*(found := words(arguments[1], commands)), sep="\n")
        if not found and ends_with_settings(arguments[1], commands):
            sys.argv[1:] = ["-sc", "query=bash"]
            os.environ["COMP_LINE"] = arguments[1]
            return True
        return False
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        got = " ".join(arguments) or "nothing"
        print(f"error: --completion must be followed by {' or '.join(SCRIPTS)}, got {got}", file=sys.stderr)
        sys.exit(2)
    print(SCRIPTS[arguments[0]], end="")
    return False


def ends_with_settings(line: str, commands: Mapping[str, Any]) -> bool:
    """Return whether the line is that of an audit, whose last word may be a setting."""
    return len(given := line.split(" ")) == 2 or given[1] not in commands


def words(line: str, commands: Mapping[str, Any]) -> list[str]:
    """Return the words that the last word of a line of the shell may become: commands, options and choices.

    A line that goes on after a space ends in an empty word. A word that names a file is left to the shell.
    """
    _, *before, last = line.split(" ") if " " in line else ["", line]
    before = [one for one in before if one]
    if not before:
        return [one for one in (*commands, *OF_LPLA) if one.startswith(last)] if last else [*commands]
    if before[0] == "--completion":
        return [one for one in SCRIPTS if one.startswith(last)]
    if before[0] not in commands:
        return []
    name, *others = before
    parser = commands[name].parser(f"lpla {name}")
    while others:
        inner = _commands(parser)
        parser = inner.get(others.pop(0), parser)
    return [one for one in _words(parser, bool(last.startswith("-"))) if one.startswith(last)]


def _commands(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """The commands below a command."""
    nested = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return {name: inner for action in nested for name, inner in action.choices.items()}


def _words(parser: argparse.ArgumentParser, options: bool) -> list[str]:
    """The options of a command, or else the words among which its arguments are chosen."""
    if options:
        return [one for action in parser._actions for one in action.option_strings if one.startswith("--")]
    return [str(one) for action in parser._actions if not action.option_strings for one in action.choices or ()]

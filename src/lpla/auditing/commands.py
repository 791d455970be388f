"""The commands of `lpla` beside an audit: what each does, where it stands, and what is said of a word that is none."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from lpla.contracts.result import nearest

NO_COMMAND = 2
"""Exit code for a word that is no command: `lpla check` says "leak" by 1, and `lpla chek` must not."""


@dataclass(frozen=True)
class Command:
    """A command, whose module is imported when it is called."""

    module: str
    function: str
    """Is given the arguments and the command's name for its help; the module's `parser` says which it takes."""
    sentence: str
    arguments: str

    def run(self, arguments: Sequence[str], prog: str) -> None:
        """Run the command with these arguments."""
        called: Callable[[Sequence[str], str], None] = getattr(import_module(self.module), self.function)
        called(arguments, prog)

    def parser(self, prog: str) -> argparse.ArgumentParser:
        """Return the parser of the command, for completion."""
        return import_module(self.module).parser(prog)


COMMANDS: Mapping[str, Command] = MappingProxyType({
    "list": Command("lpla.auditing.catalogue", "show", "list every choice of an audit in one line each", "[GROUP]"),
    "inspect": Command("lpla.auditing.inspection", "show", "say what a file of an encoder is, and how it is read",
                       "FILE"),
    "shadows": Command("lpla.auditing.shadows", "show", "train shadows of your encoder by your own command",
                       "plan|run DIR"),
    "plan": Command("lpla.auditing.forecast", "show", "say what a command would train, ask and cost, before it starts",
                    "[-m] [SETTING=VALUE ...]"),
    "views": Command("lpla.auditing.views", "show", "write the views of an audit for any program to answer",
                     "plan DIR"),
    "report": Command("lpla.report.__main__", "main", "write the page and the tables of an audit again", "DIR"),
    "card": Command("lpla.report.card", "show", "print an audit as a section of a model card", "DIR"),
    "check": Command("lpla.report.check", "show", "exit with 0, 1 or 2: no leak found, leak, no answer", "DIR"),
    "store": Command("lpla.store.__main__", "main", "list, explain or delete what audits have stored",
                     "list|explain|prune"),
    "serve": Command("lpla.auditing.serve", "show", "serve an encoder by POST /v1/embeddings, through a defence",
                     "target=..."),
})  # fmt: skip
"""Commands by name, in the order in which help lists them."""


def overview() -> str:
    """Return the text by which `lpla --help` begins: an audit and the commands beside it."""
    calls = {f"lpla {name} {command.arguments}": command.sentence for name, command in COMMANDS.items()}
    calls = {"lpla [SETTING=VALUE ...]": "audit an encoder; the settings are listed below"} | calls
    calls |= {
        "lpla --version": "print version and revision",
        "lpla --completion bash|zsh": "print a script that completes commands, options and settings with TAB",
    }
    width = max(map(len, calls))
    lines = [f"  {call:{width}}  {sentence}" for call, sentence in calls.items()]
    return "\n".join(["== Commands (each explains itself: lpla COMMAND --help) ==", *lines])


def run_command(arguments: Sequence[str]) -> bool:
    """Run the command, or print the answer, that the first word names; return False where Hydra has to go on.

    A first word that is no command and no setting ends the process with one sentence.
    """
    first, *others = arguments or [""]
    if first in COMMANDS:
        COMMANDS[first].run(others, f"lpla {first}")
        return True
    if first == "--version":
        from lpla.store.provenance import version_line

        print(version_line())
        return True
    if first == "--completion":
        from lpla.auditing.completion import show

        return not show(others, COMMANDS)
    if is_mistyped(first):
        print(f"error: {unknown(first)}", file=sys.stderr)
        sys.exit(NO_COMMAND)
    return False


def is_mistyped(word: str) -> bool:
    """Return whether a first word is neither a setting (KEY=VALUE, ~KEY) nor an option of Hydra."""
    return bool(word) and "=" not in word and not word.startswith(("-", "~"))


def unknown(word: str) -> str:
    """Return the sentence on a first word that is no command, with the most similar one."""
    if similar := nearest(word, list(COMMANDS)):
        return f"{word} is no command of lpla{similar}"
    return f"{word} is no command of lpla: these are {', '.join(COMMANDS)}; a setting is given as KEY=VALUE"


def misplaced(word: str) -> str:
    """Return the clause on a word without a value that stands among an audit's settings."""
    if word in COMMANDS:
        return f"; a command stands first: lpla {word}"
    return nearest(word, list(COMMANDS)) or f"; the commands of lpla beside an audit are {', '.join(COMMANDS)}"

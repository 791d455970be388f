"""The parts of keys: a plug-in's name, its arguments away from their defaults, and versions; never where code lives.

A default that changes is a change of the plug-in's behaviour under the same key: raise the plug-in's version with it.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from lpla.contracts.defense import Defense

Parts = dict[str, Any]
RESERVED = ("_target_", "_partial_", "_convert_", "_recursive_")
"""What Hydra reads of a plug-in's configuration; the rest are arguments."""
SUFFIX = "_VERSION"
"""End of the name of a module's constant that is raised when a change of the module changes weights or statistics."""
RELEASE = frozenset({"fit", "release"})
"""The hooks of a defence that training does not meet."""
SAYS = frozenset({"check", "check_widths", "privacy"})
"""The hooks that change nothing; whatever else a defence overrides changes what is trained."""


def of_plug_in(config: Mapping[str, Any], without: frozenset[str] = frozenset()) -> Parts:
    """Describe a configured plug-in by its name and its arguments away from the constructor's defaults.

    Args:
        config: `_target_` and keyword arguments.
        without: names of arguments that are left out.
    """
    kind = get_object(config["_target_"])
    return _described(name_of(kind), kind, {n: v for n, v in config.items() if n not in (*RESERVED, *without)})


def of_object(plug_in: Any) -> Parts:
    """Describe a plug-in that is a dataclass, whose fields are its arguments, as `of_plug_in` does."""
    kind = type(plug_in)
    return _described(name_of(kind), kind, {field.name: getattr(plug_in, field.name) for field in fields(plug_in)})


def name_of(kind: type) -> str:
    """The stem of the module of a plug-in's class; with the class' name where the module has several plug-ins."""
    stem = kind.__module__.rpartition(".")[2]
    beside = [
        one
        for name, one in vars(sys.modules[kind.__module__]).items()
        if inspect.isclass(one) and one.__module__ == kind.__module__ and hasattr(one, "version") and name[0] != "_"
    ]
    return stem if len(beside) <= 1 else f"{stem}.{kind.__name__}"


def changed(noun: Any) -> Parts:
    """Return the fields of a dataclass instance that differ from their defaults, dataclasses among them likewise."""
    away = _away(type(noun), {field.name: getattr(noun, field.name) for field in fields(noun)})
    return {name: changed(value) if is_dataclass(value) else plain(value) for name, value in away.items()}


def plain(value: Any) -> Any:
    """A configured value, or a constructor's default, as data: both have one form, so that they can be compared.

    A value that is no data is returned as it is, which equals nothing that a configuration can say.
    """
    if isinstance(value, Mapping):
        if "_target_" not in value:
            return {str(name): plain(one) for name, one in value.items()}
        kind = get_object(value["_target_"])
        return _described(kind.__name__, kind, {n: v for n, v in value.items() if n not in RESERVED})
    if isinstance(value, partial):
        arguments = value.keywords | ({"_args_": value.args} if value.args else {})
        return _described(value.func.__name__, value.func, arguments)
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        return _described(kind.__name__, kind, {field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return {"name": value.__name__} if inspect.isclass(value) or inspect.isfunction(value) else value


def overridden(kind: type[Defense]) -> set[str]:
    """Return the names of the hooks that a defence overrides."""
    hooks = {name for name in dir(Defense) if name[0] != "_" and callable(getattr(Defense, name))}
    return {hook for hook in hooks if getattr(kind, hook) is not getattr(Defense, hook)}


def changes_training(kind: type[Defense]) -> bool:
    """Return whether a defence gives encoders weights of its own."""
    return kind.distils or bool(overridden(kind) - RELEASE - SAYS)


def trained_defense(config: Mapping[str, Any]) -> Parts | None:
    """Return the part of a defence that belongs into an encoder's key: None if it does not change what is trained."""
    kind = get_object(config["_target_"])
    return of_plug_in(config, without=kind.release_arguments) if changes_training(kind) else None


def released_defense(config: Mapping[str, Any]) -> Parts | None:
    """Return the part of a defence that belongs into a statistic's key: None if it releases embeddings as they are."""
    kind = get_object(config["_target_"])
    return of_plug_in(config) if overridden(kind) & RELEASE else None


def trains_outside(config: Mapping[str, Any]) -> bool:
    """Return whether a defence's training uses images that are nobody's members."""
    kind = get_object(config["_target_"])
    return kind.distils or "score" in overridden(kind)


def versions(plug_ins: Mapping[str, type], *modules: str) -> dict[str, int]:
    """The versions, by name and where they are not 1, of plug-ins and of all that they and `modules` import of ours.

    Args:
        plug_ins: the class of each plug-in by its group.
        modules: dotted names of modules whose own versions, and whose imports', count too.
    """
    found = {group: getattr(kind, "version", 1) for group, kind in plug_ins.items()}
    for module in (*(kind.__module__ for kind in plug_ins.values()), *modules):
        found |= _versions_below(module)
    return {name: version for name, version in found.items() if version != 1}


def _described(name: str, kind: Callable[..., Any], arguments: Mapping[str, Any]) -> Parts:
    away = {argument: plain(value) for argument, value in _away(kind, arguments).items()}
    return {"name": name} | ({"with": away} if away else {})


def _away(kind: Callable[..., Any], arguments: Mapping[str, Any]) -> Parts:
    """The arguments that are not the constructor's defaults; those without a default are always among them."""
    parameters = _signature(kind).parameters.values()
    defaults = {
        parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty
    }
    if is_dataclass(kind):
        defaults |= {f.name: f.default_factory() for f in fields(kind) if f.default_factory is not MISSING}
    return {
        name: value
        for name, value in arguments.items()
        if name not in defaults or plain(value) != plain(defaults[name])
    }


_signature = cache(inspect.signature)
"""Asked for many encoders of one kind."""


@cache
def _versions_below(module: str) -> dict[str, int]:
    """Version constants of a module and of the modules of its package, or of ours, that it imports, read unexecuted."""
    ours = ("lpla", module.partition(".")[0])
    found: dict[str, int] = {}
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if file is None or file in seen:
            continue  # An attribute of a module, or a module without a file, whose plug-ins have versions of their own.
        seen.add(file)
        constants, imported = _read(file)
        found |= {constant: max(version, found.get(constant, 1)) for constant, version in constants.items()}
        waiting += [one for one in imported if one.partition(".")[0] in ours]
    return found


@cache
def _read(file: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """The version constants at the top of a source file, and the dotted names that it imports anywhere."""
    tree = ast.parse(file.read_text())
    constants, imported = {}, []
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.endswith(SUFFIX):
                constants[name.removesuffix(SUFFIX).lower()] = ast.literal_eval(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return constants, tuple(imported)


def _file(module: str) -> Path | None:
    """The source file of a module of a package that is imported; None if there is none of that name."""
    top, *rest = module.split(".")
    root = sys.modules.get(top)
    if not rest:
        return Path(root.__file__) if root is not None and getattr(root, "__file__", None) else None  # pyright: ignore[reportArgumentType]
    for folder in getattr(root, "__path__", ()):
        stem = Path(folder, *rest)
        for file in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if file.is_file():
                return file
    return None

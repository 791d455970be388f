"""Which classes the settings may name: nothing that they name is called before it is known to be what it stands for.

What `_target_` names is called to build it. A plug-in, ours or a user's, is known by what its class derives from; what
stands within one, by the module that it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import Any

from hydra._internal.utils import _locate
from torch.optim import Optimizer

from lpla.attacks.attack.all import All
from lpla.contracts.defense import Defense
from lpla.contracts.encoder import Arch, Backbone, Target
from lpla.contracts.evidence import Attack, Statistic
from lpla.contracts.inputs import Dataset, Split, Views
from lpla.contracts.settings import SettingError, shown

GROUPS: Mapping[str, tuple[type, ...]] = {
    "arch": (Arch,),
    "attack": (Attack, All),
    "backbone": (Backbone,),
    "dataset": (Dataset,),
    "defense": (Defense,),
    "executor": (Executor,),
    "observe.statistics": (Statistic,),
    "split": (Split,),
    "target": (Target,),
    "views": (Views,),
}
"""Class of which an option must be, by its setting."""
LOGGERS = ("lpla.auditing.loggers.", "pytorch_lightning.loggers.")
WITHIN = ("lpla.contracts.", "lpla.encoders.arch.", "lpla.attacks.attack.", "torch.optim.", "lightly.utils.lars.")
"""Modules of what else an option may be made of: views, optimisation, crops, an attack's training, an optimiser."""
OF_HYDRA = ("_args_", "_convert_", "_recursive_", "_mode_")
"""Keys at which Hydra looks, and which are no settings of ours."""
OPTIMIZER = ("optimization", "optimizer")
"""The last keys that lead to an optimiser."""
FORMS = ("attack", "forms")
"""Settings in which a form of an attack differs from its default: what it is built of is not among them."""


def check_named(settings: Mapping[str, Any]) -> None:
    """Raise SettingError for a name of anything but a class that may stand where it does; nothing is called.

    The trainer's is checked without an import, by `lpla.work.trainer`. A name that leads nowhere passes: building it
    says so.
    """
    for path, config in _named({name: one for name, one in settings.items() if name != "trainer"}):
        for key in (*OF_HYDRA, *(["_target_"] if path == FORMS else [])):
            if key in config:
                raise SettingError((*path, key), "is no setting")
        if path[-2:] == OPTIMIZER and config.get("_partial_") is not True:
            got = shown(config["_partial_"]) if "_partial_" in config else "nothing"
            raise SettingError((*path, "_partial_"), f"must be true, as its weights come with the network, got {got}")
        try:
            found = _locate(str(config["_target_"])) if "_target_" in config else None
        except (ImportError, ValueError):
            continue
        wanted, fits = _wanted(path, found if isinstance(found, type) else None)
        if "_target_" in config and not fits:
            raise SettingError((*path, "_target_"), f"must name {wanted}, got {shown(config['_target_'])}")


def _named(part: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """All settings by name at any depth, and the keys that lead to them; a list's all stand below its own."""
    if isinstance(part, Mapping):
        if path:
            yield path, part
        for key, inner in part.items():
            yield from _named(inner, (*path, str(key)))
    elif isinstance(part, list):
        for inner in part:
            yield from _named(inner, path)


def _wanted(path: tuple[str, ...], kind: type | None) -> tuple[str, bool]:
    """What a class must be that stands at `path`, and whether this one is it."""
    if bases := GROUPS.get(".".join(path)):
        return f"a class derived from {bases[0].__module__}.{bases[0].__name__}", bool(kind and issubclass(kind, bases))
    if path[-2:] == OPTIMIZER:
        return "an optimiser, a class derived from torch.optim.Optimizer", bool(
            kind and issubclass(kind, Optimizer) and f"{kind.__module__}.".startswith(WITHIN)
        )
    modules = LOGGERS if path == ("logger",) else WITHIN
    # Its own module too, as a name can lead out of another by what that imports.
    found = bool(kind and f"{kind.__module__}.".startswith(modules))
    return f"a class of {' or '.join(one.removesuffix('.') for one in modules)}", found

"""What an audit will make: the checked settings of a configuration and the units that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from jaxtyping import Int
from omegaconf import DictConfig, OmegaConf

from lpla.contracts import Images, InputError, Membership
from lpla.evidence import Attack, Query
from lpla.recipe import Config, Observation, Unit, load_images, plug_in, statistic_config
from lpla.statistic.clean import Clean
from lpla.train import Regime

LOWEST = {"queries": 1, "shadows": 0, "members": 1, "epochs": 0, "seed": 0, "permutations": 1}
LOWEST |= {"train.batch_size": 1, "observe.queries": 1, "observe.batch_size": 1, "utility.images": 0, "utility.k": 1}
KNOWN = {
    "arch", "backbone", "dataset", "split", "attack", "defense", "trainer", "p", "queries", "shadows", "members",
    "epochs", "seed", "layer", "store", "train", "observe", "utility", "permutations", "data",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The units of one audit: `units[0]` is the target, the others its shadows."""

    choices: dict[str, Any]
    attack: Config
    images: Images
    membership: Membership
    layers: tuple[str, ...]
    queries: int
    permutations: int
    k: int
    units: tuple[Unit, ...]
    untrained: Unit
    """The target with its initial weights."""

    pool: Observation
    """What the attack has of every encoder."""
    outside: Observation | None
    """The target's embeddings of images outside the pool, for utility and spread; None if there are no such images."""
    epochs: tuple[int, ...]
    """Epochs before the last after which all of it is observed too."""


def plan(config: DictConfig) -> Plan:
    """Check every setting and lay out the units; raises InputError, one sentence, before any long work."""
    _check(config)
    settings: Any = OmegaConf.to_container(config, resolve=True)
    attack = plug_in(settings["attack"])
    images = load_images(settings["dataset"])
    members, seed = settings["members"], settings["seed"]
    membership = plug_in(settings["split"]).draw(images, members, settings["shadows"], seed)
    if settings["train"]["batch_size"] > members:
        size = settings["train"]["batch_size"]
        raise InputError(f"train.batch_size must be at most members, which is {members}, got {size}")
    pool, outside = _observations(settings, attack, images, membership)
    epochs = _epochs(settings)
    units = _units(settings, membership, pool, outside, epochs)
    initial = replace(units[0].regime, epochs=0)
    return Plan(
        choices=_choices(settings),
        attack=settings["attack"],
        images=images,
        membership=membership,
        layers=_layers(settings),
        queries=settings["queries"],
        permutations=settings["permutations"],
        k=settings["utility"]["k"],
        units=units,
        untrained=replace(units[0], name="untrained target", regime=initial, observations=(pool,)),
        pool=pool,
        outside=outside,
        epochs=epochs,
    )


def _check(config: DictConfig) -> None:
    for unknown in sorted(set(config) - KNOWN):
        raise InputError(f"{unknown} is no setting of an audit; the settings are {', '.join(sorted(KNOWN))}")
    for name, lowest in LOWEST.items():
        value = OmegaConf.select(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise InputError(f"{name} must be an integer >= {lowest}, got {value}")


def _observations(
    settings: Config, attack: Attack, images: Images, membership: Membership
) -> tuple[Observation, Observation | None]:
    seed, views = settings["seed"], plug_in(settings["dataset"]).query_views
    query = Query(views, max(settings["queries"], settings["observe"]["queries"]), seed)
    pool = Observation(_ints(membership.index), query, tuple(statistic_config(s) for s in attack.statistics()))
    others = np.setdiff1d(np.arange(len(images)), np.union1d(membership.index, membership.aside))
    labelled = others[images.labels.numpy()[others] >= 0]
    # Without labels there is no accuracy, but still a spread to measure.
    others = labelled if len(labelled) else others
    others = np.random.default_rng([seed, 3]).permutation(others)[: settings["utility"]["images"]]
    if not len(others):
        return pool, None
    return pool, Observation(_ints(others), replace(query, queries=1), (statistic_config(Clean()),))


def _units(
    settings: Config, membership: Membership, pool: Observation, outside: Observation | None, epochs: tuple[int, ...]
) -> tuple[Unit, ...]:
    views = plug_in(settings["defense"]).train_views(plug_in(settings["dataset"]).train_views)
    units = []
    for row in range(len(membership.inside)):
        final = (pool, outside) if row == 0 and outside else (pool,)
        earlier = (replace(observation, epoch=epoch) for epoch in epochs for observation in final)
        unit = Unit(
            name=f"shadow {row}" if row else "target",
            arch=settings["arch"],
            backbone=settings["backbone"],
            dataset=settings["dataset"],
            defense=settings["defense"],
            members=_ints(membership.members(row)),
            regime=Regime(settings["epochs"], settings["train"]["batch_size"], views, _seed(settings["seed"], row)),
            observations=(*final, *earlier),
            trainer=settings["trainer"],
            batch_size=settings["observe"]["batch_size"],
        )
        units.append(unit)
    return tuple(units)


def _epochs(settings: Config) -> tuple[int, ...]:
    every, epochs = settings["observe"]["every"], settings["epochs"]
    if every is None:
        return ()
    if isinstance(every, bool) or not isinstance(every, int) or not 1 <= every < epochs:
        raise InputError(f"observe.every must be an integer from 1 to epochs - 1, which is {epochs - 1}, got {every}")
    return tuple(range(every, epochs, every))


def _ints(indices: Int[np.ndarray, " n"]) -> tuple[int, ...]:
    return tuple(indices.tolist())


def _seed(seed: int, row: int) -> int:
    """An encoder's own seed: 63 bits from the audit's seed and the row, whatever the other settings are."""
    return int.from_bytes(sha256(f"encoder {seed} {row}".encode()).digest()[:8]) >> 1


def _layers(settings: Config) -> tuple[str, ...]:
    available = get_class(settings["arch"]["_target_"]).layers
    if settings["layer"] == "both":
        return available
    if settings["layer"] not in available:
        raise InputError(f"layer must be one of {', '.join(available)} or both, got {settings['layer']}")
    return (settings["layer"],)


def _choices(settings: Config) -> dict[str, Any]:
    """The row's choices by the names under which they were chosen (a group's option, an axis' value)."""
    options = HydraConfig.get().runtime.choices
    groups = {group: options[group] for group in ("arch", "backbone", "dataset", "split", "attack", "defense")}
    axes = {axis: settings[axis] for axis in ("p", "queries", "shadows", "epochs", "seed")}
    return groups | axes

"""What an audit will make: the checked settings of a configuration and the units that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import numpy as np
from hydra.utils import get_class
from jaxtyping import Int
from omegaconf import DictConfig, OmegaConf

from lpla.contracts import Images, InputError, Membership
from lpla.observe import Query
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
    labelled: Int[np.ndarray, " n"]
    """Data-set indices outside the pool, on which utility is measured."""
    units: tuple[Unit, ...]
    untrained: Unit
    """The target with its initial weights."""

    @property
    def observation(self) -> Observation:
        """What the attack has of every encoder."""
        return self.units[0].observations[0]

    @property
    def utility_observation(self) -> Observation:
        """What utility is measured on: the target alone, the clean images alone."""
        return self.units[0].observations[1]


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
    dataset, defense = plug_in(settings["dataset"]), plug_in(settings["defense"])
    query = Query(dataset.query_views, max(settings["queries"], settings["observe"]["queries"]), seed)
    statistics = tuple(statistic_config(s) for s in attack.statistics())
    pool = Observation(tuple(membership.index.tolist()), query, statistics)
    labelled = _labelled(images, membership, settings["utility"]["images"], seed)
    clean = Observation(tuple(labelled.tolist()), replace(query, queries=1), (statistic_config(Clean()),))
    regime = Regime(settings["epochs"], settings["train"]["batch_size"], defense.train_views(dataset.train_views), 0)
    target = (pool, clean) if len(labelled) else (pool,)
    units = tuple(
        _unit(settings, membership, row, replace(regime, seed=_seed(seed, row)), (pool,) if row else target)
        for row in range(len(membership.inside))
    )
    initial = replace(units[0].regime, epochs=0)
    return Plan(
        choices=_choices(config, settings),
        attack=settings["attack"],
        images=images,
        membership=membership,
        layers=_layers(settings),
        queries=settings["queries"],
        permutations=settings["permutations"],
        k=settings["utility"]["k"],
        labelled=labelled,
        units=units,
        untrained=replace(units[0], name="untrained target", regime=initial, observations=(pool,)),
    )


def _check(config: DictConfig) -> None:
    for unknown in sorted(set(config) - KNOWN):
        raise InputError(f"{unknown} is no setting of an audit; the settings are {', '.join(sorted(KNOWN))}")
    for name, lowest in LOWEST.items():
        value = OmegaConf.select(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise InputError(f"{name} must be an integer >= {lowest}, got {value}")


def _unit(
    settings: Config, membership: Membership, row: int, regime: Regime, observations: tuple[Observation, ...]
) -> Unit:
    return Unit(
        name=f"shadow {row}" if row else "target",
        arch=settings["arch"],
        backbone=settings["backbone"],
        dataset=settings["dataset"],
        defense=settings["defense"],
        members=tuple(membership.members(row).tolist()),
        regime=regime,
        observations=observations,
        trainer=settings["trainer"],
        batch_size=settings["observe"]["batch_size"],
    )


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


def _labelled(images: Images, membership: Membership, limit: int, seed: int) -> Int[np.ndarray, " n"]:
    outside = np.setdiff1d(np.arange(len(images)), np.union1d(membership.index, membership.aside))
    outside = outside[images.labels.numpy()[outside] >= 0]
    return np.random.default_rng([seed, 3]).permutation(outside)[:limit]


def _choices(config: DictConfig, settings: Config) -> dict[str, Any]:
    """The row's choices by the names under which they were chosen (a group's option, an axis' value)."""
    from hydra.core.hydra_config import HydraConfig

    options = HydraConfig.get().runtime.choices
    groups = {group: options[group] for group in ("arch", "backbone", "dataset", "split", "attack", "defense")}
    axes = {axis: settings[axis] for axis in ("p", "queries", "shadows", "epochs", "seed")}
    return groups | axes

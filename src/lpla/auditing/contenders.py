"""The attacks that an audit judges: the one that was chosen, or, with attack=all, every one that exists here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from lpla.attacks.attack.all import All
from lpla.auditing.catalogue import CONF, options
from lpla.auditing.knowledge import SAME, Knowledge
from lpla.contracts.evidence import Attack, Need
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import shown
from lpla.work.plug_in import Config, plug_in

ENABLED_BY: dict[Need, str] = {
    "shadows": "knowledge.kind=shadows on the target's images, where a given target has target.shadows",
    "shadows or known non-members": "knowledge.kind=shadows or known_nonmembers",
    "shadows or labels": "knowledge.kind=shadows or labels",
    "shadows, labels or known non-members": "knowledge.kind=shadows, labels or known_nonmembers",
    "several views": "queries=2 or more",
    "a map of positions": "a backbone of ours that has one",
}
"""What of the settings gives an attack what it needs."""
AUTO = {"likelihood": "auto"}
"""The likelihood that suits whatever an attack learns from."""


@dataclass(frozen=True)
class Contenders:
    """`attacks` are their settings by the names that their rows have; `left_out` the sentences on all others."""

    attacks: Mapping[str, Config]
    left_out: tuple[str, ...] = ()
    refits: int | None = None
    """How often all of them may be refitted for the p-value of the strongest; None: nothing is chosen."""


def contenders(settings: Config, chosen: str) -> Contenders:
    """Who is judged under these checked settings, of which `chosen` is the option of the group `attack`.

    An attack's own settings are those of its yaml, with the audit's p, queries and the like. Raises InputError for a
    name or a form that is no attack's.
    """
    choice = plug_in(settings["attack"])
    if not isinstance(choice, All):
        return Contenders({chosen: settings["attack"]})
    configs = {name: _configured(name, settings) for name in options("attack") if name != chosen}
    for setting, names in {"also": choice.also, "forms": [one.get("attack") for one in choice.forms]}.items():
        for name in names:
            if not isinstance(name, str) or name not in configs:
                known = ", ".join(configs)
                raise InputError(f"attack.{setting} must name attacks, each one of {known}, got {shown(name)}")
    knowledge = Knowledge(**settings["knowledge"])
    attacks: dict[str, Config] = {}
    left_out: dict[str, list[str]] = {}
    for name, config in configs.items():
        label, config = _able(name, config, knowledge, settings["queries"])
        attack = plug_in(config)
        why = _left_out(attack, lacking(attack, knowledge, settings["queries"], has_map=True))
        if why and name not in choice.also:
            left_out.setdefault(why, []).append(name)
            continue
        attacks[label] = config
        for form in choice.forms:
            if form["attack"] == name:
                more = {key: value for key, value in form.items() if key != "attack"}
                _add(attacks, _label(name, more), config | more)
    sentences = (f"attack={', '.join(names)} left out: {why}" for why, names in left_out.items())
    return Contenders(attacks, tuple(sentences), choice.refits)


def _add(attacks: dict[str, Config], label: str, form: Config) -> None:
    """Add a form to the attacks; the same one twice would be counted as two wherever p-values are corrected."""
    for other, config in attacks.items():
        if _meant(config) == _meant(form) and other != label:
            problem = f"got {label}, which is the same as {other}"
            raise InputError(
                f"attack.forms must differ from each other and from their attack's own settings, {problem}"
            )
    attacks[label] = form


def _meant(form: Config) -> Config:
    """A form's settings by one name for what has two: likelihood=combined is likelihood=auto."""
    return form | AUTO if form.get("likelihood") == "combined" else form


def _able(name: str, config: Config, knowledge: Knowledge, queries: int) -> tuple[str, Config]:
    """An attack's label and settings: likelihood=auto where that exists under this knowledge and its own does not."""

    def exists(config: Config) -> bool:
        return not lacking(plug_in(config), knowledge, queries, has_map=True)

    if "likelihood" not in config or exists(config) or not exists(config | AUTO):
        return name, config
    return _label(name, AUTO), config | AUTO


def _label(name: str, more: Mapping[str, Any]) -> str:
    """What the rows of an attack are named whose settings differ from its own in these."""
    return " ".join([name, *(f"{key}={_written(value)}" for key, value in more.items())])


def lacking(attack: Attack, knowledge: Knowledge, queries: int, has_map: bool) -> str:
    """The clause on what an attack needs and does not have, and what would enable it; empty where it has all.

    Args:
        attack: as it is configured.
        knowledge: what the attacker knows.
        queries: number of views of each image that are used.
        has_map: whether the target answers with a map of positions where it is asked for one.

    Returns:
        What the attack lacks, in a clause; empty where it lacks nothing.
    """
    of_shadows, of_labels = knowledge.has_shadows, knowledge.of_one_encoder
    met: dict[Need, bool] = {
        "shadows": of_shadows and knowledge.dataset == SAME,
        "shadows or known non-members": not of_labels,
        "shadows or labels": of_shadows or of_labels,
        "shadows, labels or known non-members": True,
        "several views": queries > 1,
        "a map of positions": has_map,
    }
    unmet: list[Need] = [one for one in attack.needs() if not met[one]]
    return "; ".join(f"it needs {one}: set {ENABLED_BY[one]}" for one in unmet)


def _configured(name: str, settings: Config) -> Config:
    """An attack's yaml under the audit's settings; all keep the same norms, so that these are extracted once."""
    own = OmegaConf.load(CONF / "attack" / f"{name}.yaml")
    others = {key: value for key, value in settings.items() if key != "attack"}
    found: Any = OmegaConf.to_container(OmegaConf.merge(others, {"attack": own}).attack, resolve=True)
    norms = {"ps": sorted({*map(float, settings["ps"]), float(settings["p"]), 0.5, math.inf})}
    return found | (norms if "ps" in found else {})


def _left_out(attack: Attack, lacks: str) -> str | None:
    """Why an attack takes no part unless it is named; where it lacks something, naming it brings nothing."""
    if not attack.statistics():
        return "it sends no query to an encoder and is a null of every row"
    if not attack.refits_quickly:
        return lacks or "takes long to fit or needs other views; attack.also=[NAME] adds it"
    return None


def _written(value: Any) -> str:
    return shown(value).strip("'")

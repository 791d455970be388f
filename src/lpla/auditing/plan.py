"""What an audit will make: the checked settings of a configuration and the encoders that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hydra.utils import get_class
from jaxtyping import Bool, Int

from lpla.attacks.cross_fitted import CrossFitted
from lpla.auditing import checks
from lpla.auditing.contenders import contenders, lacking
from lpla.auditing.dearest import check_decoding
from lpla.auditing.drawn import draw, full_query, observed_epochs, reserve
from lpla.auditing.encoders import AuditEncoders, line_up, wanted_statistics
from lpla.auditing.given import GivenTarget, given_target, shadows_beside
from lpla.auditing.knowledge import Knowledge, known, separate_views, shadow_settings
from lpla.auditing.settings import Settings
from lpla.contracts.evidence import Attack, Labelled, Query
from lpla.contracts.inputs import Images, InputError, Membership, UndefinedError
from lpla.contracts.result import JOINT, columns
from lpla.contracts.streams import stream
from lpla.work.dispatch import has_our_devices
from lpla.work.machine import check_trainer
from lpla.work.plug_in import Config, load_images, plug_in
from lpla.work.recipe import Unit
from lpla.work.trainer import resolve

SOME_SHADOWS = 64


@dataclass(frozen=True)
class Plan:
    """One audit: its choices, its images, its encoders and how they are judged."""

    choices: dict[str, Any]
    attack: Config
    attacks: Mapping[str, Config]
    """Which are judged, by the names of their rows: that one, or with attack=all many (see `alone`)."""
    left_out: tuple[str, ...]
    """Sentences on those that are not."""
    refits: int | None
    """Refits for the p-value of the strongest of several attacks; None: there is one attack."""
    knowledge: Knowledge
    images: Images
    membership: Membership
    layers: tuple[str, ...]
    """Layers, of which each has a row."""
    released: tuple[str, ...]
    """What the target and its shadows both return."""
    full_query: Query
    """The views that the audit asks for; a budget of `queries` uses the first of them."""
    queries: int
    permutations: int
    targets: str
    jury: int | None
    """Settings `targets` and `jury`: who is the target in turn, and by how many others it is judged at most."""
    prior: float
    k: int
    encoders: AuditEncoders
    epochs: tuple[int, ...]
    """Epochs before the last after which all of it is observed too."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """What is trained: the target and its shadows."""
        return tuple(subject.unit for subject in (self.encoders.target, *self.encoders.shadows))

    def alone(self, name: str) -> Plan:
        """The audit by one of its attacks."""
        config = self.attacks[name]
        return replace(
            self,
            choices=self.choices | {"attack": name, "norms": config.get("norms", "")},
            attack=config,
            attacks={name: config},
            layers=_layers(self.choices["layer"], self.released, plug_in(config).joins_layers()),
        )

    def looked_at(self, layer: str) -> tuple[str, ...]:
        """The released layers whose embeddings a row uses: all of them for the joint row."""
        return self.released if layer == JOINT else (layer,)

    @property
    def labelled(self) -> Bool[np.ndarray, " N"]:
        """Pool images whose membership the attacker knows: a few candidates, all of them, or none."""
        chosen = np.zeros(len(self.membership.index), dtype=bool)
        if self.knowledge.kind == "labels":
            return self.membership.candidates
        if self.knowledge.kind == "few_labels":
            candidates = np.flatnonzero(self.membership.candidates)
            order = stream("labels", self.choices["seed"]).permutation(candidates)
            chosen[order[: self.knowledge.images]] = True
        return chosen

    @property
    def judged(self) -> Bool[np.ndarray, " N"]:
        """Pool images on which the attack is judged: the candidates, but for the few that it was told about.

        Where it was told about all of them, each is judged by a fit that was not told about it (`taught`).
        """
        told = self.knowledge.kind == "few_labels"
        return self.membership.candidates & ~self.labelled if told else self.membership.candidates

    def lacking(self, attack: Attack) -> str:
        """The clause on what the attack needs and does not have here; empty where it has all."""
        has_map = any(one.query.positions for one in self.encoders.target.observations)
        return lacking(attack, self.knowledge, self.queries, has_map)

    def taught(self, attack: Attack) -> Attack:
        """The attack as it learns under this knowledge: from the labels of all judged images, fold by fold."""
        return CrossFitted(attack, self.choices["seed"]) if self.knowledge.kind == "labels" else attack

    @property
    def judged_index(self) -> Int[np.ndarray, " n"]:
        """The data-set indices of the judged images."""
        return self.membership.index[self.judged]

    @property
    def member(self) -> Bool[np.ndarray, " n"]:
        """Whether each judged image was inside the target: the truth that everything is judged by."""
        return self.encoders.target.inside[self.judged]


def plan(told: Settings) -> Plan:
    """Check every setting and lay out the units; raises InputError, one sentence, before any long work."""
    settings = separate_views(checks.typed(told.config))
    settings["trainer"] = resolve(settings["trainer"])
    check_trainer(settings["trainer"], has_our_devices(settings["executor"]))
    knowledge = known(settings, told.overrides, told.choices.get("target"))
    check_decoding(told)
    images = load_images(settings["dataset"])
    own = shadows_beside(settings, knowledge, images)
    theirs = shadow_settings(settings, knowledge, told.alternative)
    membership = reserve(draw(settings, knowledge, images, own), settings, theirs)
    given = given_target(settings, knowledge, images, membership, own)
    epochs, query = observed_epochs(settings), full_query(settings, images)
    rivals = contenders(settings, str(told.choices["attack"]))
    attacks = {name: plug_in(config) for name, config in rivals.attacks.items()}
    statistics = wanted_statistics(settings, attacks.values())
    released = _released(settings, theirs, knowledge, given)
    found = Plan(
        choices=_choices(settings, knowledge, told.choices, len(own or ())) | (given.choices(images) if given else {}),
        attack=settings["attack"],
        attacks=rivals.attacks,
        left_out=rivals.left_out,
        refits=rivals.refits,
        knowledge=knowledge,
        images=images,
        membership=membership,
        layers=_layers(settings["layer"], released, any(attack.joins_layers() for attack in attacks.values())),
        released=released,
        full_query=query,
        queries=settings["queries"],
        permutations=settings["permutations"],
        targets=settings["targets"],
        jury=settings["jury"],
        prior=float(settings["prior"]),
        k=settings["utility"]["k"],
        encoders=line_up(settings, theirs, knowledge, images, membership, statistics, query, epochs, given),
        epochs=epochs,
    )
    return _able_to_learn(found, attacks)


def _able_to_learn(plan: Plan, attacks: Mapping[str, Attack]) -> Plan:
    """The plan without those of several attacks that could not learn; raises InputError if none could."""
    able, unable = {}, []
    for name, attack in attacks.items():
        if plan.refits is not None and (needed := plan.lacking(attack)):
            unable.append(f"attack={name} left out: {needed}")
            continue
        try:
            _check_learning(plan, attack)
            able[name] = plan.attacks[name]
        except InputError as refusal:
            if plan.refits is None:
                raise
            unable.append(f"attack={name} left out: {refusal}")
    if not able:
        raise InputError(f"attack=all must have an attack that exists under these settings, got none: {unable[0]}")
    return replace(plan, attacks=able, left_out=(*plan.left_out, *unable))


def _check_learning(plan: Plan, attack: Attack) -> None:
    """Raise InputError where the attack could not learn from what is known, which the counts say before any training.

    An attack that does not exist under these settings passes: its row is empty and says why.
    """
    try:
        if plan.knowledge.kind == "known_nonmembers":
            attack.check_nonmembers(plan.knowledge.images)
        elif plan.knowledge.of_one_encoder:
            index, inside = plan.membership.index[plan.labelled], plan.membership.inside[0][plan.labelled]
            plan.taught(attack).check([Labelled(index, {}, inside, foreign=True)])
        else:
            shadows = [Labelled(s.index, {}, s.inside, foreign=s.foreign) for s in plan.encoders.shadows]
            _check_shadows(shadows, attack)
    except UndefinedError:
        return


def _check_shadows(shadows: list[Labelled], attack: Attack) -> None:
    """As of `attack.check`, whose work may be quadratic: what some of the shadows allow, all of them do."""
    try:
        attack.check(shadows[:SOME_SHADOWS])
    except InputError:
        if len(shadows) <= SOME_SHADOWS:
            raise
        attack.check(shadows)


def _released(settings: Config, theirs: Config, knowledge: Knowledge, given: GivenTarget | None) -> tuple[str, ...]:
    """The layers that the target has, and the shadows too where there are any."""
    available = given.source.layers if given else get_class(settings["arch"]["_target_"]).layers
    if not knowledge.has_shadows or (given and given.shadows):
        return available
    shared = get_class(theirs["arch"]["_target_"]).layers
    return tuple(layer for layer in available if layer in shared)


def _layers(wanted: str, released: tuple[str, ...], joins: bool) -> tuple[str, ...]:
    """The rows of `layer`; `both` has a joint one where the attack `joins` layers and there are several."""
    several = (JOINT,) if len(released) > 1 else ()
    if wanted == "both":
        return released + (several if joins else ())
    known = (*released, *several)
    if wanted not in known:
        raise InputError(f"layer must be one of {', '.join(known)} or both, got {wanted}")
    return (wanted,)


def _choices(settings: Config, knowledge: Knowledge, options: Mapping[str, str | None], own: int) -> dict[str, Any]:
    """The row's choices by the names under which they were chosen (a group's option, an axis' value).

    `own` is how many shadows the user trained, of which all are used.
    """
    told = {name: options.get(name, settings.get(name)) for name in columns("choice")}
    shadows = own or {"shadows": settings["shadows"], "one_shadow": 1}.get(knowledge.kind, 0)
    levels = " and shadows" * bool(own and knowledge.of_one_encoder) + " and reference" * knowledge.reference_levels
    attackers = {
        "knowledge": knowledge.describe() + levels,
        "norms": settings["attack"].get("norms", ""),
        "shadows": shadows,
    }
    return {name: value for name, value in told.items() if value is not None} | attackers

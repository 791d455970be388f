"""A target that was trained elsewhere, as an audit has it: checked before anything else, and described for its row."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_class
from jaxtyping import Float
from torch import Tensor

from lpla.auditing.beside import reference_as, shadows_as
from lpla.auditing.drawn import full_query
from lpla.auditing.knowledge import SAME, Knowledge
from lpla.auditing.own_shadows import OwnShadows, own_shadows
from lpla.auditing.service import ON_CPU, asks_a_service, check_service, service_name
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, InputError, Membership
from lpla.report.outputs import IN_MEMORY
from lpla.work.given import Given, Look, look_at
from lpla.work.planned import look_at_table
from lpla.work.plug_in import Config

log = logging.getLogger(__name__)

LOOKED_AT = 128
"""Candidates, at most, that are shown to an encoder when it is checked, whoever was a member."""
TEACHES = ("shadows", "one_shadow", "labels", "few_labels")
"""Kinds of knowledge to which shadows of the user's own add something."""
ONE_PROCESS = {"strategy": "auto", "devices": 1, "num_nodes": 1}
"""Settings of the trainer with which an encoder is asked that nothing trains."""


@dataclass(frozen=True)
class GivenTarget:
    """Its source, and what the file says of itself."""

    source: Given
    notes: tuple[str, ...]
    """How its network was found in its file."""
    shadows: Mapping[str, Given]
    """Shadows that the user trained, by their names; none unless target.shadows says where they are."""
    reference: Given | None
    """An encoder that cannot have seen the images; None unless target.reference names one."""

    @property
    def file(self) -> str:
        """The name of its file or folder, or of the function that stands for it."""
        return _named(self.source)

    @property
    def kind(self) -> str:
        """Which option of the group `target` reads it."""
        return str(self.source.parts()["target"]["name"])

    def choices(self, images: Images) -> dict[str, Any]:
        """What the row says in place of a framework, a backbone and epochs, and on the encoder and the user's lists."""
        parts = self.source.parts()["target"]
        model = self.source.target.get("arch") or self.source.target.get("model")
        return {
            "arch": self.file,
            "backbone": str(model or self.kind),
            "epochs": None,
            "given": self._sentence(parts, images),
        }

    def _said_of_others(self) -> str:
        """Who stands beside it."""
        shadows = f"; {len(self.shadows)} shadows of the user's own" if self.shadows else ""
        if self.reference is None:
            return shadows
        sha256 = self.reference.parts()["target"]["sha256"]
        kind = self.reference.parts()["target"]["name"]
        return f"{shadows}; the reference is {_named(self.reference)}, SHA-256 {sha256}, read by target={kind}"

    def _sentence(self, parts: dict[str, Any], images: Images) -> str:
        settings = [f"{name}={value}" for name, value in parts.get("with", {}).items()]
        fed = ", ".join(f"{name} {value}" for name, value in parts["input"].items() if value is not None)
        read = f"read by target={self.kind}" + (f" ({', '.join(settings)})" if settings else "")
        found = "".join(f"; {note}" for note in self.notes)
        layers = " and ".join(self.source.layers)
        lists = f"; {images.counts}" if images.lists is not None else ""
        random = "the same architecture" if self.source.can_be_rebuilt else "a ResNet of ours, as it cannot be rebuilt,"
        twin = f"; the untrained null is {random} with random weights"
        beside = f"{twin}{self._said_of_others()}{lists}"
        return f"{self.file}, SHA-256 {parts['sha256']}, {read}, layers {layers}; input: {fed}{found}{beside}"


def shadows_beside(settings: Config, knowledge: Knowledge, images: Images) -> OwnShadows | None:
    """The shadows that target.shadows names, the first alone with knowledge.kind=one_shadow; None: it names none.

    Raises InputError where the attacker has no use of them, or they are not there.
    """
    told = settings["beside_target"]["shadows"]
    if told is None:
        return None
    # An attacker who does not know of the release asks shadows of its own without it.
    if replace(knowledge, defense=SAME).describe() not in TEACHES:
        kinds = ", ".join(TEACHES)
        raise InputError(f"target.shadows needs a knowledge of {kinds}, got knowledge.kind={knowledge.describe()}")
    folder, like = shadows_as(told, settings["target"])
    found = own_shadows(folder, like, images)
    return found.first(1) if knowledge.kind == "one_shadow" else found


def given_target(
    settings: Config, knowledge: Knowledge, images: Images, membership: Membership, own: OwnShadows | None = None
) -> GivenTarget | None:
    """The target that the group of this name chooses, checked on a few candidates; None: one that is trained here.

    Args:
        settings: the checked configuration.
        knowledge: what the attacker knows.
        images: the data set.
        membership: whose candidates the encoder is shown.
        own: shadows that the user trained, which are checked likewise.

    Raises:
        InputError: for settings of a training that nothing has, or for an encoder that cannot be audited; with the
            remedy.
    """
    target, reference = settings["target"], settings["beside_target"]["reference"]
    _check_knowledge(settings, knowledge, own)
    if target is None:
        return None
    if asks_a_service(target):
        target |= {"store": str(Path(target["store"]).expanduser().absolute())}  # for workers in other folders
    reference = reference and reference_as(reference, target)
    check_service(settings, knowledge, images, membership)
    shown = images.pixels[membership.index[membership.candidates][:LOOKED_AT]].float() / 255
    source, look = _looked_at(settings, target, shown, keep=True)
    for one in look.notes:
        log.info("target: %s", one)

    asked = images, membership.index.tolist(), full_query(settings, images)
    earlier = {"the target": (source, look.vectors)}

    def beside(name: str, config: Config) -> Given:
        found, vectors = _beside(settings, config, shown, source, name)
        for whose, (other, others) in earlier.items():
            if _same(found, other, *asked) or (_are_files(found, other) and _alike(vectors, others)):
                raise InputError(f"{name} must be another encoder than {whose}, got {whose} itself")
        earlier[name] = found, vectors
        return found

    shadows = {name: beside(name, config) for name, config in (own.targets if own else {}).items()}
    told = beside("target.reference", reference) if reference else None
    return GivenTarget(source, look.notes, shadows, told)


def _check_knowledge(settings: Config, knowledge: Knowledge, own: OwnShadows | None) -> None:
    """Raise InputError where the attacker would learn from encoders that are not there."""
    if knowledge.reference_levels and settings["beside_target"]["reference"] is None:
        raise InputError("knowledge.reference_levels needs target.reference, the encoder that tells them, got none")
    if settings["target"] is None:
        return
    if settings["observe"]["every"] is not None:
        raise InputError("observe.every must be null with a target that was trained elsewhere, as it has no epochs")
    if knowledge.has_shadows and knowledge.arch == SAME and own is None:
        ways = "labels, few_labels or known_nonmembers, or knowledge.arch must name a framework of ours for shadows"
        ways += ", or target.shadows must be a folder of shadows that you trained"
        raise InputError(
            f"knowledge.kind must be {ways}: how the target was trained is not known, got {knowledge.kind}"
        )


def _named(source: Given) -> str:
    """The name of an encoder's file or folder, or of the function that stands for it."""
    config = source.target
    if config.get("service"):
        return service_name(config)
    if config.get("file"):
        return Path(str(config["file"])).name
    call = str(config.get("call"))
    return "encoder in memory" if call.startswith(IN_MEMORY) else call


def _looked_at(
    settings: Config, target: Config, shown: Float[Tensor, "B C H W"], keep: bool = False
) -> tuple[Given, Look]:
    planned = get_class(target["_target_"]).answers_planned
    look = look_at_table(target) if planned else look_at(target, shown, keep)
    trainer = settings["trainer"] | (ON_CPU if planned or asks_a_service(target) else {})
    if trainer.get("strategy", "auto") != "auto":
        trainer = trainer | ONE_PROCESS
    described = {"widths": look.widths, "channels": shown.shape[1], "can_be_rebuilt": look.can_be_rebuilt}
    return Given(trainer=trainer, target=target, **described), look


def _beside(
    settings: Config, target: Config, shown: Float[Tensor, "B C H W"], like: Given, name: str
) -> tuple[Given, dict[str, Tensor]]:
    """An encoder beside the target, which must have its layers, and what it answers; errors begin with its name."""
    try:
        found, look = _looked_at(settings, target, shown)
    except InputError as unusable:
        raise InputError(f"{name}: {unusable}") from unusable
    if missing := [layer for layer in like.layers if layer not in found.layers]:
        raise InputError(
            f"{name} must have the target's layers, got none at {', '.join(missing)}: set its projector, or the "
            "target's to null (target.projector)"
        )
    return found, look.vectors


def _are_files(one: Given, other: Given) -> bool:
    """Whether neither is a function, which may know a view from an image as it is."""
    return "call" not in one.target and "call" not in other.target


def _alike(vectors: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    """Whether two files answer alike up to rounding, as weights do that were saved twice."""
    both = [(one, others[layer]) for layer, one in vectors.items() if layer in others]
    return bool(both) and all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in both)


def _same(one: Given, other: Given, images: Images, index: Sequence[int], query: Query) -> bool:
    """Whether two encoders are one: the same file, however it is read, or functions that answer alike."""
    content = [source.parts()["target"]["sha256"] for source in (one, other)]
    if content[0] != content[1]:
        return False
    return one.answers(images, index, query) == other.answers(images, index, query)

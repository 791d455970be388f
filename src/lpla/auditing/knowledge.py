"""What the attacker knows: shadows like the target or unlike it, or no shadow at all.

The eight cells of EncoderMI (Liu et al., arXiv 2108.11023): shadows trained on the same or other data, by the same or
another framework, under the same or another augmentation; and, which is ours, under the target's defence or another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import listed
from lpla.data.split.given import Given
from lpla.metrics.intervals import spread_of
from lpla.work.plug_in import Config, plug_in

NEEDS_SHADOWS = ("shadows", "one_shadow")
SAME = "same"
GROUPS = ("dataset", "arch", "views", "defense")
OF_TRAINING = ("arch", "backbone", "epochs", "train", "checkpoint", "shadows", "dataset.train_views")
"""Settings, and groups of them, that are read only where lpla trains an encoder."""


@dataclass(frozen=True)
class Knowledge:
    """`images` is how many known non-members or labelled candidates there are; the groups name the shadows' own.

    `defense` is none for an attacker who does not know that the target is defended: whose shadows are not.
    `reference_levels`: an encoder that cannot have seen the images tells how hard each of them is.
    """

    kind: str
    images: int
    dataset: str
    arch: str
    views: str
    defense: str = SAME
    reference_levels: bool = False

    def __post_init__(self) -> None:
        if self.reference_levels and not self.of_one_encoder:
            raise InputError(f"knowledge.reference_levels needs knowledge.kind=labels or few_labels, got {self.kind}")
        if not self.has_shadows:
            for group in GROUPS:
                if getattr(self, group) != SAME:
                    raise InputError(f"knowledge.{group} needs shadows, but knowledge.kind is {self.kind}")

    @property
    def has_shadows(self) -> bool:
        """Whether shadows are trained at all."""
        return self.kind in NEEDS_SHADOWS

    @property
    def of_one_encoder(self) -> bool:
        """Whether the attacker learns from the target's own answers to images whose membership it knows."""
        return self.kind in ("few_labels", "labels")

    @property
    def spread(self) -> float:
        """Spread of the AUC of such an attacker without a leak, in standard errors over images."""
        return spread_of(self.kind)

    @property
    def unlike(self) -> bool:
        """Whether shadows are trained by another recipe than the target."""
        return any(getattr(self, group) != SAME for group in ("arch", "views", "defense"))

    def describe(self) -> str:
        """The row's word for it: the kind, and in what the shadows differ."""
        return " ".join([self.kind, *(f"{g}={getattr(self, g)}" for g in GROUPS if getattr(self, g) != SAME)])


def known(settings: Config, overrides: Sequence[str], option: str | None) -> Knowledge:
    """What the attacker knows under these settings.

    Args:
        settings: The audit's settings.
        overrides: What the user set beside the defaults.
        option: The option of the group `target` that was chosen; None: the target is trained here.

    Returns:
        The knowledge.

    Raises:
        InputError: If the user set what only a training reads and nothing is trained, or if non-members are known that
            no list names.
    """
    knowledge = Knowledge(**settings["knowledge"])
    by_lists = "unseen" in settings["dataset"] and plug_in(settings["split"], partial=True).func is Given
    own = settings["beside_target"]["shadows"]
    if knowledge.kind == "known_nonmembers" and own is None and by_lists and settings["dataset"]["unseen"] is None:
        raise InputError(
            "knowledge.kind=known_nonmembers needs data.unseen, further images that the target was not trained on, "
            "got none"
        )
    if settings["target"] is not None:
        _check_use(overrides, option, trains=knowledge.has_shadows and own is None)
    return knowledge


def _check_use(overrides: Sequence[str], option: str | None, trains: bool) -> None:
    """Raise InputError for settings of a training that is not ours; `trains`: whether shadows of ours are trained.

    Those are trained by the framework that knowledge.arch names, and otherwise by the audit's own settings.
    """
    unread = ("arch",) if trains else OF_TRAINING
    typed = {one: one.partition("=")[0].lstrip("+~").partition("@")[0] for one in overrides}
    unused = [one for one, key in typed.items() if any(f"{key}.".startswith(f"{name}.") for name in unread)]
    if not unused:
        return
    whose = "whose encoder is trained elsewhere"
    more = ", and its shadows are trained by the framework of knowledge.arch" if trains else ""
    verb, them = ("is", "it") if len(unused) == 1 else ("are", "them")
    raise InputError(f"{listed(unused)} {verb} not used with target={option}, {whose}{more}; leave {them} out")


def separate_views(settings: Config) -> Config:
    """The settings with the views out of the data set: `train_views` and `query_views` stand beside `dataset`.

    On the command line they belong to the data set whose images they suit; images themselves do not depend on them.
    """
    dataset = dict(settings["dataset"])
    views = {name: dataset.pop(name) for name in ("train_views", "query_views")}
    return settings | views | {"dataset": dataset}


Alternative = Callable[[str, str], Any]
"""A configuration group and one of its options -> the default settings with it (`Settings.alternative`)."""


def shadow_settings(settings: Config, knowledge: Knowledge, alternative: Alternative) -> Config:
    """The settings by which shadows are trained: the target's, but for what the attacker does not know.

    Args:
        settings: The audit's settings.
        knowledge: What the attacker knows.
        alternative: Gives the settings of another option of a group.

    Returns:
        The settings of the shadows.
    """
    other = settings | {"target": None}
    if knowledge.dataset != SAME:
        composed = separate_views(alternative("dataset", knowledge.dataset))
        other |= {"dataset": composed["dataset"], "train_views": composed["train_views"]}
    if knowledge.arch != SAME:
        composed = alternative("arch", knowledge.arch)
        other["arch"] = composed["arch"]
        if composed["backbone"] != alternative("arch", "simclr")["backbone"]:
            # A framework with a backbone of its own (mae) keeps it here too.
            other["backbone"] = composed["backbone"]
    if knowledge.views != SAME:
        other["train_views"] = alternative("views", knowledge.views)["shadow_views"]
    if knowledge.defense != SAME:
        other["defense"] = alternative("defense", knowledge.defense)["defense"]
    return other

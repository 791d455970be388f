"""What an audit draws and asks under its settings: who is trained on what, which views, after which epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from hydra.utils import get_class
from jaxtyping import Bool, Int
from scipy.stats import fisher_exact

from lpla.auditing import checks
from lpla.auditing.knowledge import Knowledge
from lpla.auditing.own_shadows import OwnShadows
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, InputError, Membership
from lpla.contracts.streams import stream
from lpla.work.keys import name_of
from lpla.work.plug_in import Config, plug_in

CHOSEN = 1e-4
"""How often chance makes a user's shadows seem to be chosen along with the target's images."""
FEWEST_FRESH, MOST_FRESH = 10, 1_000
"""Images outside every training set with which the target's non-members are compared."""


def draw(settings: Config, knowledge: Knowledge, images: Images, own: OwnShadows | None = None) -> Membership:
    """Members and non-members of every encoder; those of shadows that a user trained are as these were trained.

    Raises InputError where they do not suffice for what is learnt.

    Args:
        settings: The audit's settings.
        knowledge: What the attacker knows.
        images: The data set.
        own: Shadows of the user's own; None: lpla trains them.

    Returns:
        Who is trained on what.

    Raises:
        InputError: If the images or the members do not suffice.
    """
    trains = settings["target"] is None or (knowledge.has_shadows and own is None)
    if trains:
        checks.check_arch(settings)
    members, size = settings["members"], settings["train"]["batch_size"]
    membership = plug_in(settings["split"]).draw(images, members, 2 if own else settings["shadows"], settings["seed"])
    if own:
        rows = np.stack(list(own.inside.values()))
        inside = np.stack([membership.inside[0], *rows[:, membership.index]])
        _check_drawn(inside[:, membership.candidates], list(own.inside))
        unseen = membership.unseen[~rows[:, membership.unseen].any(axis=0)]
        membership = replace(membership, inside=inside, unseen=unseen)
    if trains and size > (fewest := int(membership.inside.sum(axis=1).min())):
        whose = "members, which is" if fewest == members else "the members of every encoder, of which one has"
        together = f"set both, such as members={fewest} train.batch_size={fewest}"
        raise InputError(f"train.batch_size must be at most {whose} {fewest}, got {size}: {together}")
    if knowledge.kind == "few_labels" and not 4 <= knowledge.images <= membership.candidates.sum() // 2:
        most = membership.candidates.sum() // 2
        if most < 4:
            held = int(membership.candidates.sum())
            raise InputError(f"knowledge.kind=few_labels needs 8 candidates, of which it knows half; there are {held}")
        raise InputError(f"knowledge.images must be from 4 to {most}, half of the candidates, got {knowledge.images}")
    return membership


def reserve(membership: Membership, *settings: Config) -> Membership:
    """Set images that are nobody's members aside for the defence of the target, or of its shadows, that needs most.

    Args:
        membership: who is trained on what.
        settings: the audit's, and those of its shadows.

    Returns:
        The membership with `reserved` images, which are no longer among the `unseen`.

    Raises:
        InputError: if there are too few.
    """
    defenses = [one["defense"] for one in settings]
    count, name = max((plug_in(one).outside, name_of(get_class(one["_target_"]))) for one in defenses)
    there = len(membership.unseen)
    if not count:
        return membership
    if count > there:
        raise InputError(
            f"defense={name} needs {count} images outside every training set, of which there are {there}: set a "
            "smaller defense.images, fewer members, or data.unseen with more of them"
        )
    drawn = stream("images of the defence", settings[0]["seed"]).permutation(membership.unseen)[:count]
    return replace(membership, reserved=drawn, unseen=np.setdiff1d(membership.unseen, drawn))


def _check_drawn(inside: Bool[np.ndarray, "E N"], names: Sequence[str]) -> None:
    """Raise InputError for a shadow of all images or of none, and for one whose images go along with the target's.

    The former teaches nothing, the latter who was chosen for both.

    The attacks take each shadow's images as drawn independently of the target's, row 0; each is held to that by
    Fisher's exact test, so that chance refuses one audit of `CHOSEN` at most.
    """
    members, others = int(inside[0].sum()), int((~inside[0]).sum())
    for name, row in zip(names, inside[1:], strict=True):
        if row.all() or not row.any():
            how, where = ("every one", "draw them by `lpla shadows plan`")
            if not row.any():
                how, where = ("none", "such an encoder is what target.reference asks for")
            raise InputError(
                f"target.shadows must each have been trained on some of the listed images, but {name} holds {how} of "
                f"the {len(row)}, and so says nothing of the difference that it makes: {where}"
            )
        of_members, of_others = int((row & inside[0]).sum()), int((row & ~inside[0]).sum())
        chance: Any = fisher_exact([[of_members, members - of_members], [of_others, others - of_others]])
        if chance.pvalue < CHOSEN / len(names):
            raise InputError(
                f"target.shadows must be trained on images that are drawn independently of data.members, but {name} "
                f"holds {of_members / members:.0%} of the members and {of_others / others:.0%} of the non-members: "
                "draw them by `lpla shadows plan`"
            )


def full_query(settings: Config, images: Images) -> Query:
    """The views that every encoder is asked for; raises InputError for those that the images do not allow."""
    views = {name: plug_in(settings[name]) for name in ("train_views", "query_views")}
    checks.check_views({f"dataset.{name}": spec for name, spec in views.items()}, images)
    queries, target = max(settings["queries"], settings["observe"]["queries"]), settings["target"]
    eight_bit = settings["observe"]["eight_bit"] or (target is not None and get_class(target["_target_"]).eight_bit)
    return Query(views["query_views"], queries, settings["seed"], eight_bit=eight_bit)


def observed_epochs(settings: Config) -> tuple[int, ...]:
    """The epochs before the last after which encoders are asked too; raises InputError where there are none such."""
    every, epochs = settings["observe"]["every"], settings["epochs"]
    if every is None:
        return ()
    if epochs < 2:
        raise InputError(
            f"observe.every must be null for fewer than 2 epochs, as the end is measured anyway, got {every}"
        )
    if not 1 <= every < epochs:
        raise InputError(f"observe.every must be an integer from 1 to {epochs - 1}, which is epochs - 1, got {every}")
    return tuple(range(every, epochs, every))


def known_nonmembers(settings: Config, knowledge: Knowledge, unseen: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """The images that the attacker knows not to be members; raises InputError where there are not so many.

    Args:
        settings: The audit's settings.
        knowledge: What the attacker knows.
        unseen: Images that no encoder was trained on.

    Returns:
        Those that the attacker knows.

    Raises:
        InputError: If there are too few.
    """
    if knowledge.kind != "known_nonmembers":
        return unseen[:0]
    if knowledge.images > len(unseen):
        if not len(unseen):
            raise InputError("knowledge.kind=known_nonmembers needs images outside the pool; there are none")
        bound = f"{len(unseen)}, the images outside the pool"
        raise InputError(f"knowledge.images must be at most {bound}, got {knowledge.images}")
    return stream("known non-members", settings["seed"]).permutation(unseen)[: knowledge.images]


def fresh_images(settings: Config, membership: Membership, known: Int[np.ndarray, " m"]) -> Int[np.ndarray, " f"]:
    """As many as the target's non-members, up to `MOST_FRESH`, or as there are; none if these are very few.

    Args:
        settings: The audit's settings.
        membership: Who is trained on what.
        known: Images that the attacker knows, which are left out.

    Returns:
        The images for the halves null.
    """
    left = np.setdiff1d(membership.unseen, known)
    count = min(int((membership.candidates & ~membership.inside[0]).sum()), MOST_FRESH)
    drawn = stream("fresh images", settings["seed"]).permutation(left)[:count]
    return drawn if len(drawn) >= FEWEST_FRESH else left[:0]


def utility_images(settings: Config, images: Images, unseen: Int[np.ndarray, " n"]) -> Int[np.ndarray, " u"]:
    """The images on which utility is measured: those with a class, or, where none has, any for the spread.

    Args:
        settings: The audit's settings.
        images: The data set.
        unseen: Images that no encoder was trained on.

    Returns:
        Up to `utility.images` of them.
    """
    labelled = unseen[images.labels.numpy()[unseen] >= 0]
    usable = labelled if len(labelled) else unseen
    return stream("utility", settings["seed"]).permutation(usable)[: settings["utility"]["images"]]

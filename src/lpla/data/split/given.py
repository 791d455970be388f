"""The user's own layout: lists say who is a member of the target; the shadows' members are drawn from all images."""

import logging

import numpy as np
from jaxtyping import Bool, Int

from lpla.contracts.inputs import Images, InputError, Membership, Split
from lpla.contracts.settings import checked
from lpla.contracts.streams import stream
from lpla.data.split._duplicates import NearDuplicates, duplicate_groups
from lpla.data.split.balanced import complementary_rows

log = logging.getLogger(__name__)

NAMED = 5
"""Groups of near-duplicates, at most, whose files the log names."""


@checked
class Given(Split):
    """The listed members and non-members, all of them candidates, without near-duplicates of each other.

    Where members and non-members are near-duplicates, all candidates of the group are set aside: neither side's answer
    would be its own. Of a group within one side one image is kept, the first in the drawn order. An image of the list
    `unseen` with a near-duplicate among the candidates is set aside alone, as it says nothing of theirs.
    """

    def __init__(self, *, near_duplicates: NearDuplicates = "keep_together") -> None:
        self.near_duplicates: NearDuplicates = near_duplicates

    def draw(self, images: Images, members: int | None, shadows: int, seed: int) -> Membership:
        """Draw the rows: row 0 are the listed members; rows 2j+1 and 2j+2 are the complementary pair j, drawn from
        (seed, j) alone.

        `members` is how many images of each side are drawn, or None for all, however unequal the sides are.
        """
        if images.lists is None:
            raise InputError(f"split=given needs lists of members (dataset=given), got dataset={images.name}")
        lists = np.array(images.lists)
        order = stream("pool", seed).permutation(len(images))
        group = duplicate_groups(images) if self.near_duplicates == "keep_together" else np.arange(len(images))
        mixed = _mixed(images, lists, group)
        kept = order[_eligible(lists[order], group[order], mixed[order])]
        sides = [kept[lists[kept] == side] for side in ("members", "nonmembers")]
        limit = min(map(len, sides))
        if limit < 2 or (members is not None and not 2 <= members <= limit):
            both = f"; {int(mixed.sum())} images stand, alike or nearly, on both sides" if mixed.any() else ""
            counts = f"{len(sides[0])} members and {len(sides[1])} non-members"
            if mixed[lists != "unseen"].all():
                every = f"every image, {mixed.sum()} in all, stands on both sides, alike or nearly"
                raise InputError(f"data.members and data.nonmembers must be different images, but {every}")
            if limit < 2:
                needed = "2 members and 2 non-members that are no near-duplicates of others"
                raise InputError(f"split=given needs at least {needed}; the lists have {counts}{both}")
            raise InputError(
                f"members must be null, or at least 2 and at most {limit}: the lists have {counts} "
                f"that are no near-duplicates of others, got {'null' if members is None else members}{both}"
            )
        chosen = np.concatenate([side[:members] for side in sides])
        index = order[np.isin(order, chosen)]
        rows = [lists[index] == "members", *complementary_rows(len(index), shadows, seed, "given")]
        found = self.near_duplicates == "keep_together"
        return Membership(
            index,
            np.stack(rows),
            np.ones(len(index), dtype=bool),
            aside=np.setdiff1d(order, kept),
            duplicate_groups=int((np.bincount(group) > 1).sum()) if found else None,
            unseen=np.sort(kept[lists[kept] == "unseen"]),
            mixed_groups=len(np.unique(group[mixed])),
        )


def over_all(images: Images, membership: Membership) -> Bool[np.ndarray, "K N"]:
    """Whether each image of the data set is inside each encoder: near-duplicates of a candidate go where it goes.

    Args:
        images: with the user's lists.
        membership: drawn of these by this split. Without a search for near-duplicates there are none.
    """
    inside = np.zeros((len(membership.inside), len(images)), dtype=bool)
    inside[:, membership.index] = membership.inside
    if membership.duplicate_groups and images.lists is not None:
        group = duplicate_groups(images)
        kept = {int(group[one]): int(one) for one in membership.index}
        for one in membership.aside:
            if images.lists[one] != "unseen" and int(group[one]) in kept:
                inside[:, one] = inside[:, kept[int(group[one])]]
    return inside


def _mixed(images: Images, lists: np.ndarray, group: Int[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """The candidates that have a near-duplicate on the other side; the log names the files of groups across lists."""
    members, nonmembers, unseen = (np.isin(group, group[lists == one]) for one in ("members", "nonmembers", "unseen"))
    crossing = np.unique(group[members & nonmembers | members & unseen | nonmembers & unseen])
    if len(crossing):
        names = np.array(images.names or range(len(images)), dtype=str)
        some = [" ~ ".join(_with_list(names, lists, group == one)) for one in crossing[:NAMED]]
        more = f"; and {len(crossing) - NAMED} more" if len(crossing) > NAMED else ""
        log.warning("%d groups of near-duplicates across lists: %s%s", len(crossing), "; ".join(some), more)
    return members & nonmembers & (lists != "unseen")


def _with_list(names: np.ndarray, lists: np.ndarray, chosen: Bool[np.ndarray, " N"]) -> list[str]:
    return [f"{name} ({one})" for name, one in zip(names[chosen], lists[chosen], strict=True)]


def _eligible(lists: np.ndarray, group: Int[np.ndarray, " N"], mixed: Bool[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    """Keep the first image of each group that is not mixed; an unseen image only where its group has no candidate."""
    unseen = lists == "unseen"
    candidates = group[~unseen]
    # Candidates come first, whatever the order, so that no unseen image stands for them.
    order = np.argsort(unseen, kind="stable")
    first = np.zeros(len(group), dtype=bool)
    first[order[np.unique(group[order], return_index=True)[1]]] = True
    return first & ~mixed & ~(unseen & np.isin(group, candidates))

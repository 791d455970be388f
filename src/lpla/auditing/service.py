"""What asking a service costs, said and agreed to before anything is sent; and what was asked in the end."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

from lpla.auditing.drawn import fresh_images, full_query, known_nonmembers, utility_images
from lpla.auditing.knowledge import Knowledge
from lpla.contracts.answers import short
from lpla.contracts.inputs import Images, InputError, Membership
from lpla.work.plug_in import Config
from lpla.work.target import digests_of_views, target_of

log = logging.getLogger(__name__)

ON_CPU = {"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"}
"""Where the views of a service are made: on another device some would round to other bytes, to be asked for anew."""


def asks_a_service(target: Config) -> bool:
    """Whether a target's answers come from a service."""
    return target_of(target).asks() is not None


def service_name(target: Config) -> str:
    """The model of a service and its host, as a row has them."""
    made: Any = target_of(target)
    return f"{made.model or made.service} at {made.host}"


def asked_so_far(target: Config) -> str:
    """The sentence on what a service was sent and has answered, by all runs together; empty for any other target."""
    made: Any = target_of(target)
    if made.asks() is None:
        return ""
    counts = made.kept.counts()
    most = "" if made.max_queries is None else f" of target.max_queries={made.max_queries}"
    sent = f"{counts.queries:,} queries{most} in {counts.requests:,} requests"
    return f"the service was sent {sent}, of which {counts.answers:,} answers are kept"


def check_service(settings: Config, knowledge: Knowledge, images: Images, membership: Membership) -> None:
    """Say what asking the target costs where it is a service; nothing is sent.

    Args:
        settings: The checked configuration.
        knowledge: What the attacker knows.
        images: The data set.
        membership: Who is judged.

    Raises:
        InputError: It is over target.max_queries, or over target.ask_above and not confirmed.
    """
    target: Any = target_of(settings["target"])  # The one that asks, target=http, whose packages are an extra.
    if target.asks() is None:
        return
    target.build()  # Says what is wrong with the address or the key before anything is counted.
    queries = _to_ask(target, settings, knowledge, images, membership)
    if not queries:
        return
    counts, price = target.kept.counts(), _price(target, queries)
    if counts.queries:
        log.info("target: %s queries were sent before, %s answers are kept", counts.queries, counts.answers)
    if target.max_queries is not None and counts.queries + queries > target.max_queries:
        raise InputError(
            f"target.max_queries must be at least {counts.queries + queries}, got {target.max_queries}: {price}, after "
            f"{counts.queries:,} queries before; fewer views (observe.queries) or images (members) take fewer"
        )
    if queries > target.ask_above and not target.confirm:
        raise InputError(f"target.confirm must be true for more than {target.ask_above} queries: {price}")
    log.info("target: %s", price)


def _to_ask(target: Any, settings: Config, knowledge: Knowledge, images: Images, membership: Membership) -> int:
    """Queries that lie ahead: views whose bytes were not answered yet, and images that are asked about again."""
    query = full_query(settings, images)
    known = known_nonmembers(settings, knowledge, membership.unseen)
    fresh = fresh_images(settings, membership, known)
    many = dict.fromkeys([*membership.index.tolist(), *known.tolist(), *fresh.tolist()])
    once = [one for one in utility_images(settings, images, membership.unseen).tolist() if one not in many]
    resized = query.views.size not in (None, images.pixels.shape[-1])
    again = target.to_examine(int(membership.candidates.sum()), resized)
    if not (answered := {short(one) for one in target.kept.digests()}):
        return len(many) * query.queries + len(once) + again
    needed: set[int] = set()
    for index, one in ((tuple(many), query), (tuple(once), replace(query, queries=1))):
        if index:
            needed |= set(digests_of_views(settings["target"], images, index, one).ravel().tolist())
    return len(needed - answered) + again


def _price(target: Any, queries: int) -> str:
    """The sentence on what so many queries take."""
    batch, rate = target.batch_size, target.per_second
    requests = math.ceil(queries / batch)
    # At most, as views of one content are asked about once; a few more requests are needed to check it.
    said = f"up to {queries:,} queries in about {requests:,} requests of {batch} images"
    said += f", {requests / rate:,.0f} s at target.per_second={rate:g}" if rate else ""
    money = queries * target.price_per_1000 / 1000
    return said + (f", {money:,.2f} at target.price_per_1000={target.price_per_1000:g}" if money else "")

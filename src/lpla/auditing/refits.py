"""How long judging takes: all fits of an attack are counted, and one of them is timed where they are many.

The encoders are not there yet, so that what is timed learns from answers that are made up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from lpla.attacks.planted import answers, given, layout, pixels_of
from lpla.auditing.plan import Plan
from lpla.auditing.strongest import DEAR
from lpla.work.plug_in import Config, plug_in

MANY = 100
"""Refits of one attack, so many that one more for the clock costs nothing."""
IMAGES, SHADOWS, VIEWS = 1_000, 16, 16
"""Images, shadows and views, at most, of the data that are made up for timing; more are taken to cost in proportion."""
QUICKEST = 5e-4
"""Seconds of a fit that cannot be timed so; the quickest attack takes .7 ms for 40 images."""


def refits(plan: Plan) -> Mapping[str, int]:
    """How often each attack learns, at all its layers: for permuted memberships, targets in turn, and its choice."""
    encoders = len(plan.encoders.shadows)
    times = plan.permutations + (encoders + 1 if encoders and plan.targets == "all" else 1)
    if chooses(plan):
        times += plan.refits or 0
    return {name: times * len(plan.alone(name).layers) for name in plan.attacks}


def chooses(plan: Plan) -> bool:
    """Whether the strongest of several attacks is chosen with the help of refits."""
    return bool(plan.refits) and len(plan.membership.index) * len(plan.units) <= DEAR


def paid_for_choice(plan: Plan) -> int:
    """How many of these fits are for the p-value of the strongest attack, which allows for the choice among them."""
    return sum((plan.refits or 0) * len(plan.alone(name).layers) for name in plan.attacks) if chooses(plan) else 0


def seconds_of_judging(plan: Plan) -> float:
    """About how long all fits take that are many of an attack; the others take no time worth a price."""
    many = {name: count for name, count in refits(plan).items() if count > MANY}
    return sum(count * seconds_of_fit(plan, plan.attacks[name]) for name, count in many.items())


def seconds_of_fit(plan: Plan, config: Config) -> float:
    """Time one fit of an attack, with the scores of a target."""
    attack, images, shadows = plug_in(config), len(plan.membership.index), len(plan.encoders.shadows)
    shown, taught = min(images, IMAGES), min(shadows, SHADOWS) // 2 * 2
    if not taught:
        return QUICKEST
    inside = layout(0, taught, shown)
    try:
        embedded = answers(0, inside, min(plan.queries, VIEWS))
        pixels = pixels_of(0, shown) if attack.looks_at_pixels() else None
        target, known, _ = given(attack, embedded, inside, pixels)
        start = time.perf_counter()
        attack.fit(known).score(target)
        seconds = time.perf_counter() - start
    except Exception:  # noqa: BLE001  # no map of positions, no axes; an estimate costs no result
        return QUICKEST
    return seconds * images / shown * shadows / taught

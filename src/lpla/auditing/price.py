"""What a job costs, counted before anything is trained; a job that costs more than its limits is refused.

Hours are at first a lower bound for any machine, and then, where this machine trains, those that a few timed
steps and views promise. Memory and disk follow from shapes: weights, gradients and averages of the optimiser, what the
backward pass of a batch keeps, a chunk of views with its answers, the statistics that the judge reads. Judging takes
hours of its own where an attack is to learn anew very often (`refits`).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import psutil

from lpla.auditing.dearest import GIB, duration, free_of, gib, refuse
from lpla.auditing.defended import say_cost
from lpla.auditing.plan import Plan
from lpla.auditing.refits import paid_for_choice, refits, seconds_of_judging
from lpla.auditing.settings import Settings
from lpla.store.artifacts import Store
from lpla.work.footprint import Network, count, kind_of, values_of
from lpla.work.given import Given
from lpla.work.machine import accelerator
from lpla.work.plug_in import plug_in
from lpla.work.recipe import ExtractionRequest, Unit
from lpla.work.source import Source
from lpla.work.trained import Trained
from lpla.work.unit import to_train, views_to_observe

log = logging.getLogger(__name__)

SECONDS_PER_ENCODER, SECONDS_PER_STEP, VIEWS_PER_SECOND = 1.0, 5e-3, 1e6
"""A rate that no device exceeds: an H100 took 15 ms a step of the smallest network, an H200 gave 258,000 views/s."""
FLOPS = {"cpu": 2e11, "cuda": 1e15}
"""Floating-point operations per second that neither a CPU's core nor a GPU exceeds."""
TRAFFIC, BYTES_PER_SECOND = 5, {"cpu": 5e11, "cuda": 5e12}
"""How often a step reads or writes every weight, its gradient among it, and what no memory's bandwidth exceeds."""
LARGE = 64 * 2**20
"""Bytes of a network from which on a few steps may take so long that the log says so."""
WORTH_SAYING = 60
"""Seconds of judging."""
PASSES = 3
"""A training step in forward passes: one forward, two backward."""
COPIES = 3
"""Copies of a chunk of views, or of what the judge reads: as it comes, on its way, as it is worked on."""
DOUBLE = 8
"""Bytes of a number of a statistic, at most."""


@dataclass(frozen=True)
class Price:
    """What making what the store lacks takes: views of encoders, and bytes at once of memory and of the disk."""

    views: int
    training: int
    activations: int
    """Within `training`."""
    extraction: int
    judging: int
    disk: int
    networks: Mapping[str, Network]
    """Networks of the encoders that are trained, by `kind_of`."""


def check_price(
    work: Plan, missing: Sequence[Unit], store: Store, settings: Settings, here: bool, timed: bool = True
) -> Price | None:
    """Refuse a job that costs more than `limits.*`, this machine or its disk allow; say what other jobs cost.

    Args:
        work: The audit.
        missing: Those of its units that the store lacks.
        store: Where they will be put.
        settings: The audit's settings, of which the most expensive is named.
        here: Whether this machine trains. If not, no step is timed, and only a limit that is a number holds for the
            memory of training and extraction.
        timed: Whether a few steps and views are timed, where this machine trains.

    Returns:
        The price of what is missing; None where nothing is.

    Raises:
        InputError: One sentence: the setting, the price, the limit and how it is raised; or the network that cannot be
            built from its settings.
    """
    if not missing:
        _check_judging(work, settings)
        return None
    kinds = {kind_of(source): source for unit in missing if isinstance(source := unit.source, Trained)}
    networks, ahead = {kind: count(source) for kind, source in kinds.items()}, to_train(missing, store)
    hours = sum(_seconds(one, networks[kind_of(one)], here) for one in ahead) / 3600
    # Before the views are counted, which takes a while for thousands of encoders.
    _check_hours(partial(refuse, settings, f"{len(ahead)} trainings"), settings, hours, "at the least")
    hours += (judging := _check_judging(work, settings)) / 3600
    price = _price(work, missing, ahead, store, networks)
    too_dear = partial(refuse, settings, f"{len(ahead)} trainings, {price.views:,} views")
    _check_hours(too_dear, settings, hours + price.views / VIEWS_PER_SECOND / 3600, "at the least")
    _check_memory(too_dear, settings, price, work, here)
    if price.disk > (free := free_of(store.root)):
        too_dear("disk", f"{gib(price.disk)} in the store, where {gib(free)} are free", "store=FOLDER on another disk")
    weights = networks[kind_of(ahead[0])].weights if ahead else 0
    if timed and ahead and (seconds := _timed(ahead, weights, price.views, missing, len(work.units), store, here)):
        _check_hours(too_dear, settings, (judging + seconds) / 3600, "by a few timed steps")
    return price


def _check_judging(work: Plan, settings: Settings) -> float:
    """The seconds that all fits of attacks take, unless they are too many."""
    judging, fits = seconds_of_judging(work), f"{sum(refits(work).values()):,} fits of attacks"
    _check_hours(partial(refuse, settings, fits), settings, judging / 3600, "by timed fits", "refits")
    if judging > WORTH_SAYING:
        log.info("judging takes about %s: %s", duration(judging), fits + _of_choice(work))
    return judging


def _of_choice(work: Plan) -> str:
    """The clause on the fits that correct for the choice among attacks, where they are most of all."""
    paid, every = paid_for_choice(work), sum(refits(work).values())
    if paid * 2 <= every:
        return ""
    return f", {paid:,} of them to correct the p-value for the choice among attacks (fewer with attack.refits=N)"


def _check_hours(
    too_dear: Callable[..., None], settings: Settings, hours: float, how: str, part: str = "hours"
) -> None:
    limit = settings.config.limits.hours
    if limit is not None and hours > limit:
        raised = f"limits.hours={math.ceil(hours)}, or null for no limit"
        too_dear(part, f"{hours:,.1f} hours ({how}), and limits.hours is {limit:g}", raised)


def _check_memory(too_dear: Callable[..., None], settings: Settings, price: Price, work: Plan, here: bool) -> None:
    limit = settings.config.limits.memory_gb
    if limit is None:
        return
    parts = {"training": price.training, "extraction": price.extraction, "judging": price.judging}
    allowed, whose = int(GIB * limit) if limit != "auto" else psutil.virtual_memory().total, "limits.memory_gb"
    if limit == "auto":
        whose = "this machine"
        on_gpu = accelerator(work.encoders.target.unit.source.trainer) == "cuda"
        if on_gpu or not here:
            # Workers have memory of their own. A full GPU is given fewer views at once, and activations are computed
            # again; what it trains is built in this machine's memory.
            parts |= {"extraction": 0, "training": (price.training - price.activations) if here else 0}
    for part, needed in parts.items():
        if needed > allowed:
            raised = f"limits.memory_gb={math.ceil(needed / GIB)}, or null for no limit"
            too_dear(part, f"{gib(needed)} of memory for {part}, of which {whose} allows {gib(allowed)}", raised)


def _seconds(source: Trained, network: Network, here: bool) -> float:
    """That training an encoder takes at the least."""
    operations = PASSES * source.image_epochs() * network.operations
    on_cpu = here and accelerator(source.trainer) == "cpu"
    at_once = FLOPS["cpu"] * (os.cpu_count() or 1) if on_cpu else FLOPS["cuda"]
    moved = TRAFFIC * network.weights / BYTES_PER_SECOND["cpu" if on_cpu else "cuda"]
    return SECONDS_PER_ENCODER + max(source.steps() * max(SECONDS_PER_STEP, moved), operations / at_once)


def _price(
    work: Plan, missing: Sequence[Unit], ahead: Sequence[Trained], store: Store, networks: Mapping[str, Network]
) -> Price:
    trained = [networks[kind_of(source)] for source in ahead]
    extraction = 0
    disk = sum(one.weights for one in trained)
    for unit in missing:
        widths = _widths(unit.source, networks)
        extraction = max([extraction, *(_chunk(unit, one, widths) for one in unit.observations)])
        disk += sum(len(one.index) * DOUBLE * _values(one, widths) for one in unit.observations)
    return Price(
        views=sum(views_to_observe(unit, store) for unit in missing),
        training=max((one.weights * (2 + one.averages) + one.kept for one in trained), default=0),
        activations=max((one.kept for one in trained), default=0),
        extraction=extraction,
        judging=_read(work, _widths(missing[0].source, networks)),
        disk=disk,
        networks=networks,
    )


def _chunk(unit: Unit, request: ExtractionRequest, widths: Mapping[str, int]) -> int:
    """Bytes of the views that are made at once, of their embeddings and of what is kept of them."""
    query, (channels, side, _) = request.query, unit.images.pixels.shape[1:]
    images = min(len(request.index), max(1, unit.batch_size // query.queries))
    view = 4 * channels * (query.views.size or side) ** 2 + 4 * sum(widths.values())
    return images * (COPIES * query.queries * view + DOUBLE * _values(request, widths))


def _values(request: ExtractionRequest, widths: Mapping[str, int]) -> int:
    kept = ((s, width) for s in request.statistics for layer, width in widths.items() if layer in s.layers)
    return sum(values_of(statistic, request.query, width) for statistic, width in kept)


def _read(work: Plan, widths: Mapping[str, int]) -> int:
    """Bytes that the judge works on at once: what an attack reads of every encoder, at the layers that it may join."""
    side, of_image = work.images.pixels.shape[-1], 0
    for attack in map(plug_in, work.attacks.values()):
        looks = [(one, one.query(work.full_query, side)) for one in attack.statistics()]
        read = (values_of(one, query, width, work.queries) for one, query in looks for width in widths.values())
        of_image = max(of_image, sum(read))
    return COPIES * DOUBLE * len(work.membership.index) * (len(work.units) + 1) * of_image


def _timed(
    ahead: Sequence[Trained],
    weights: int,
    views: int,
    missing: Sequence[Unit],
    encoders: int,
    store: Store,
    here: bool,
) -> float | None:
    """Say how many trainings and views lie ahead and about how long they take one by one, from a few timed steps."""
    said = f"{len(ahead)} of {encoders} encoders to train"
    if not here or ahead[0].distributed:
        # Steps are timed in this process, which is none of those that will train.
        log.info("%s, %d views to observe", said, views)
        return None
    from lpla.work.rehearsal import seconds_to_train, views_per_second

    if weights > LARGE:
        log.info("a few steps of a network of %s are timed", gib(weights))
    try:
        seconds = seconds_to_train(ahead)
        if views:
            seconds += views / views_per_second(next(unit for unit in missing if unit.observations), store)
    except Exception as failure:  # noqa: BLE001  # an estimate costs no result; what ails will be met again, and raised
        log.warning("%s, %d views to observe; how long is not known: %s", said, views, failure)
        return None
    say_cost(ahead)
    log.info("%s, about %s one by one with %d views to observe", said, duration(seconds), views)
    return seconds


def _widths(source: Source, networks: Mapping[str, Network]) -> Mapping[str, int]:
    assert isinstance(source, Given | Trained)
    return source.widths if isinstance(source, Given) else networks[kind_of(source)].widths

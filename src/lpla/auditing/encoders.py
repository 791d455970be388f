"""The encoders of an audit: the target, its shadows as the attacker trains them, the untrained one; their queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Int

from lpla.auditing.checks import check_views
from lpla.auditing.defended import check_defenses
from lpla.auditing.drawn import fresh_images, known_nonmembers, reserve, utility_images
from lpla.auditing.given import GivenTarget
from lpla.auditing.knowledge import Knowledge
from lpla.auditing.queried import QueriedEncoder
from lpla.auditing.sources import outside_images, trained_sources
from lpla.contracts.evidence import Attack, Query, Statistic
from lpla.contracts.inputs import Images, Membership, UndefinedError
from lpla.extraction.query import check_positions
from lpla.extraction.statistic.clean import Clean
from lpla.extraction.statistic.principal_axes import OnAxes
from lpla.work.plug_in import Config, load_images, plug_in
from lpla.work.recipe import ExtractionRequest, Unit
from lpla.work.source import Source


@dataclass(frozen=True)
class AuditEncoders:
    """Who takes part."""

    target: QueriedEncoder
    shadows: tuple[QueriedEncoder, ...]
    untrained: QueriedEncoder
    """The target with its initial weights."""
    reference: QueriedEncoder | None
    """An encoder that cannot have seen the images, where there is one."""
    known: QueriedEncoder | None
    """The target on images that the attacker knows not to be members, where that is what it knows."""
    fresh: QueriedEncoder | None
    """The target on images that are known to be outside every training set, and that no attack learns from; None where
    there are too few."""
    outside: ExtractionRequest | None
    """The target's embeddings of images outside the pool, for utility and spread; None if there are no such images."""

    @property
    def nulls(self) -> tuple[QueriedEncoder, ...]:
        """Encoders that have seen none of the images."""
        return (self.untrained, *([self.reference] if self.reference else []))


def line_up(
    settings: Config,
    theirs: Config,
    knowledge: Knowledge,
    images: Images,
    membership: Membership,
    statistics: Sequence[Statistic],
    full_query: Query,
    epochs: tuple[int, ...],
    given: GivenTarget | None = None,
) -> AuditEncoders:
    """The encoders that take part in an audit, and what is asked of each.

    Args:
        settings: the checked configuration of the target, with views beside the data set.
        theirs: that of the shadows.
        knowledge: what the attacker knows.
        images: the target's data set.
        membership: who is trained on which of them.
        statistics: what is kept of every view: what the attack needs, and what other attacks may ask for.
        full_query: the views that the audit asks for.
        epochs: epochs before the last after which all of it is observed too.
        given: the target, where it was trained elsewhere, and what stands beside it.

    Returns:
        The encoders of the audit.

    Raises:
        InputError: where the images do not suffice for what the attacker knows, or a defence cannot be used.
    """
    asked = partial(_requests, statistics, full_query)
    pool = asked(settings, membership.index, images)
    known = known_nonmembers(settings, knowledge, membership.unseen)
    of_known = asked(settings, known, images) if len(known) else ()
    fresh = fresh_images(settings, membership, known)
    # Axes are those of the audited images and say nothing of fresh ones, which are read after the last epoch alone.
    off_axes = [one for one in statistics if not isinstance(one, OnAxes)]
    of_fresh = _requests(off_axes, full_query, settings, fresh, images) if len(fresh) else ()
    outside = _outside(settings, full_query, membership.unseen, images)
    final = (*pool, *of_known, *((outside,) if outside else ()))
    source = given.source if given else trained_sources(settings, [0], membership)[0]
    unit = _unit(settings, source, "target", final, epochs, outside_images(settings, membership))
    unit = replace(unit, observations=(*unit.observations, *of_fresh))
    target = QueriedEncoder(unit, membership.index, membership.inside[0], pool)
    blank = replace(unit, name="untrained target", source=unit.source.blank(), observations=(*pool, *of_known))
    shadows = _own_shadows(settings | {"defense": theirs["defense"]}, given, membership, pool)
    if knowledge.has_shadows and not shadows:
        shadows = _shadows(settings, theirs, knowledge, membership, asked, epochs)
    check_defenses(settings, [unit, *(shadow.unit for shadow in shadows)])
    foreign = given and given.reference and replace(blank, name="reference", source=given.reference)
    return AuditEncoders(
        target=target,
        shadows=shadows,
        untrained=replace(target, unit=blank),
        reference=replace(target, unit=foreign) if foreign else None,
        known=_none_inside(unit, known, of_known),
        fresh=_none_inside(unit, fresh, of_fresh),
        outside=outside,
    )


def _none_inside(
    unit: Unit, index: Int[np.ndarray, " m"], requests: tuple[ExtractionRequest, ...]
) -> QueriedEncoder | None:
    return QueriedEncoder(unit, index, np.zeros(len(index), dtype=bool), requests) if len(index) else None


def _own_shadows(
    settings: Config, given: GivenTarget | None, membership: Membership, pool: tuple[ExtractionRequest, ...]
) -> tuple[QueriedEncoder, ...]:
    """Shadows that the user trained, whose rows follow the target's; they are asked what the target is asked."""
    outside = outside_images(settings, membership)
    units = (_unit(settings, one, name, pool, (), outside) for name, one in (given.shadows if given else {}).items())
    return tuple(
        QueriedEncoder(one, membership.index, membership.inside[row], pool) for row, one in enumerate(units, 1)
    )


def _shadows(
    settings: Config,
    theirs: Config,
    knowledge: Knowledge,
    membership: Membership,
    asked: Callable[..., tuple[ExtractionRequest, ...]],
    epochs: tuple[int, ...],
) -> tuple[QueriedEncoder, ...]:
    images = load_images(theirs["dataset"])
    changed = next((one for one in ("views", "defense") if getattr(knowledge, one) != "same"), "dataset")
    check_views({f"knowledge.{changed}={getattr(knowledge, changed)}": plug_in(theirs["train_views"])}, images)
    foreign = theirs["dataset"] != settings["dataset"]
    if foreign:
        membership = plug_in(theirs["split"]).draw(images, theirs["members"], theirs["shadows"], theirs["seed"])
        membership = reserve(membership, theirs)
    pool = asked(theirs, membership.index, images)
    rows = range(1, 2 if knowledge.kind == "one_shadow" else len(membership.inside))
    sources, outside = trained_sources(theirs, rows, membership), outside_images(theirs, membership)
    units = [
        _unit(theirs, source, f"shadow {row}", pool, epochs, outside) for row, source in zip(rows, sources, strict=True)
    ]
    return tuple(
        QueriedEncoder(unit, membership.index, membership.inside[row], pool, foreign)
        for row, unit in zip(rows, units, strict=True)
    )


def wanted_statistics(settings: Config, attacks: Iterable[Attack]) -> list[Statistic]:
    """What the attacks need, and the kinds that `observe.statistics` keeps beside them for other attacks."""
    needed = list(dict.fromkeys(one for attack in attacks for one in attack.statistics()))
    also = [plug_in(one, setting="observe.statistics") for one in settings["observe"]["statistics"]]
    return needed + [one for one in also if type(one) not in {type(statistic) for statistic in needed}]


def _requests(
    statistics: Sequence[Statistic],
    full_query: Query,
    settings: Config,
    index: Int[np.ndarray, " N"],
    images: Images,
) -> tuple[ExtractionRequest, ...]:
    """One request for each query that the statistics need, if the backbone can answer it."""
    by_query: dict[Query, list[Statistic]] = {}
    for statistic in statistics:
        query = statistic.query(full_query, images.pixels.shape[-1])
        if _answerable(settings, query, images):
            by_query.setdefault(query, []).append(statistic)
    return tuple(ExtractionRequest(_ints(index), query, tuple(found)) for query, found in by_query.items())


def _unit(
    settings: Config,
    source: Source,
    name: str,
    final: tuple[ExtractionRequest, ...],
    epochs: tuple[int, ...],
    outside: tuple[int, ...],
) -> Unit:
    earlier = (replace(observation, epoch=epoch) for epoch in epochs for observation in final)
    return Unit(
        name=name,
        source=source,
        dataset=settings["dataset"],
        defense=settings["defense"],
        observations=(*final, *earlier),
        outside=outside,
        batch_size=settings["observe"]["batch_size"],
        precision=settings["observe"]["precision"],
        cache_mb=settings["observe"]["cache_mb"],
    )


def _outside(
    settings: Config, full_query: Query, unseen: Int[np.ndarray, " n"], images: Images
) -> ExtractionRequest | None:
    chosen = utility_images(settings, images, unseen)
    if not len(chosen):
        return None
    return ExtractionRequest(_ints(chosen), replace(full_query, queries=1), (Clean(),))


def _answerable(settings: Config, query: Query, images: Images) -> bool:
    """Whether the backbone has what the query asks for; where it has not, the attack is undefined (`subject.see`)."""
    if not query.positions:
        return True
    if settings["target"] is not None:
        return False  # A given encoder has no map of positions that is known.
    channels, side, _ = images.pixels.shape[1:]
    try:
        check_positions(plug_in(settings["backbone"], partial=True)(channels), channels, side, query)
    except UndefinedError:
        return False
    return True


def _ints(indices: Int[np.ndarray, " n"]) -> tuple[int, ...]:
    return tuple(indices.tolist())

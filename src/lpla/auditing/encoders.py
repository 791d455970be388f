"""The encoders of an audit: the target, its shadows as the attacker trains them, the untrained one; their queries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from jaxtyping import Int

from lpla.auditing.knowledge import Knowledge
from lpla.auditing.queried import QueriedEncoder
from lpla.contracts.evidence import Attack, Query
from lpla.contracts.inputs import Images, InputError, Membership, UndefinedError
from lpla.extraction.query import check_positions
from lpla.extraction.statistic.clean import Clean
from lpla.training.config import TrainConfig
from lpla.work.recipe import Config, ExtractionRequest, Unit, load_images, plug_in, statistic_config, statistic_of


@dataclass(frozen=True)
class AuditEncoders:
    """Who takes part."""

    target: QueriedEncoder
    shadows: tuple[QueriedEncoder, ...]
    untrained: QueriedEncoder
    """The target with its initial weights."""
    known: QueriedEncoder | None
    """The target on images that the attacker knows not to be members, where that is what it knows."""
    outside: ExtractionRequest | None
    """The target's embeddings of images outside the pool, for utility and spread; None if there are no such images."""


@dataclass(frozen=True)
class Casting:
    """Settings, an attack and the query of an audit -> the encoders that take part in it."""

    settings: Config
    theirs: Config
    """The settings by which shadows are trained."""
    attack: Attack
    full_query: Query
    epochs: tuple[int, ...]
    """Epochs before the last after which all of it is observed too."""

    def line_up(self, knowledge: Knowledge, images: Images, membership: Membership) -> AuditEncoders:
        """Raises InputError where the images do not suffice for what the attacker knows."""
        pool = self._observations(self.settings, membership.index, images)
        others = np.setdiff1d(np.arange(len(images)), np.union1d(membership.index, membership.aside))
        known = self._known(knowledge, others)
        of_known = self._observations(self.settings, known, images) if len(known) else ()
        outside = self._outside(others, images)
        unit = self._unit(self.settings, 0, membership, (*pool, *of_known, *((outside,) if outside else ())))
        target = QueriedEncoder(unit, membership.index, membership.inside[0], pool)
        initial = replace(unit.regime, epochs=0)
        blank = replace(unit, name="untrained target", regime=initial, observations=(*pool, *of_known))
        return AuditEncoders(
            target=target,
            shadows=self._shadows(knowledge, membership) if knowledge.has_shadows else (),
            untrained=replace(target, unit=blank),
            known=QueriedEncoder(unit, known, np.zeros(len(known), dtype=bool), of_known) if len(known) else None,
            outside=outside,
        )

    def _shadows(self, knowledge: Knowledge, membership: Membership) -> tuple[QueriedEncoder, ...]:
        theirs = self.theirs
        images = load_images(theirs["dataset"])
        foreign = theirs["dataset"] != self.settings["dataset"]
        if foreign:
            split = plug_in(theirs["split"])
            membership = split.draw(images, theirs["members"], theirs["shadows"], theirs["seed"])
        pool = self._observations(theirs, membership.index, images)
        rows = range(1, 2 if knowledge.kind == "one_shadow" else len(membership.inside))
        return tuple(
            QueriedEncoder(
                self._unit(theirs, row, membership, pool), membership.index, membership.inside[row], pool, foreign
            )
            for row in rows
        )

    def _observations(
        self, settings: Config, index: Int[np.ndarray, " N"], images: Images
    ) -> tuple[ExtractionRequest, ...]:
        """One per query that the attack's statistics need, and what `observe.statistics` keeps for other attacks."""
        wanted = list(self.attack.statistics())
        also = [statistic_of(one) for one in self.settings["observe"]["statistics"]]
        wanted += [one for one in also if type(one) not in {type(statistic) for statistic in wanted}]
        by_query: dict[Query, list[Config]] = {}
        for statistic in wanted:
            query = statistic.query(self.full_query, images.pixels.shape[-1])
            if _answerable(settings, query, images):
                by_query.setdefault(query, []).append(statistic_config(statistic))
        return tuple(ExtractionRequest(_ints(index), query, tuple(found)) for query, found in by_query.items())

    def _unit(self, settings: Config, row: int, membership: Membership, final: tuple[ExtractionRequest, ...]) -> Unit:
        views = plug_in(settings["defense"]).train_views(plug_in(settings["train_views"]))
        epochs, size = settings["epochs"], settings["train"]["batch_size"]
        earlier = (replace(observation, epoch=epoch) for epoch in self.epochs for observation in final)
        return Unit(
            name=f"shadow {row}" if row else "target",
            arch=settings["arch"],
            backbone=settings["backbone"],
            dataset=settings["dataset"],
            defense=settings["defense"],
            members=_ints(membership.members(row)),
            regime=TrainConfig(epochs, size, views, _seed(settings["seed"], row)),
            observations=(*final, *earlier),
            trainer=settings["trainer"],
            batch_size=settings["observe"]["batch_size"],
            precision=settings["observe"]["precision"],
            compile_on_cuda=settings["train"]["compile"] == "auto",
            cache_mb=settings["observe"]["cache_mb"],
            checkpoint_every=settings["checkpoint"]["every"],
        )

    def _outside(self, others: Int[np.ndarray, " n"], images: Images) -> ExtractionRequest | None:
        labelled = others[images.labels.numpy()[others] >= 0]
        # Without labels there is no accuracy, but still a spread to measure.
        usable = labelled if len(labelled) else others
        order = np.random.default_rng([self.settings["seed"], 3]).permutation(usable)
        chosen = order[: self.settings["utility"]["images"]]
        if not len(chosen):
            return None
        return ExtractionRequest(_ints(chosen), replace(self.full_query, queries=1), (statistic_config(Clean()),))

    def _known(self, knowledge: Knowledge, others: Int[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
        if knowledge.kind != "known_nonmembers":
            return others[:0]
        if knowledge.images > len(others):
            bound = f"{len(others)}, the images outside the pool"
            raise InputError(f"knowledge.images must be at most {bound}, got {knowledge.images}")
        return np.random.default_rng([self.settings["seed"], 4]).permutation(others)[: knowledge.images]


def _answerable(settings: Config, query: Query, images: Images) -> bool:
    """Whether the backbone has what the query asks for; where it has not, the attack is undefined (`subject.see`)."""
    if not query.positions:
        return True
    channels, side, _ = images.pixels.shape[1:]
    try:
        check_positions(plug_in(settings["backbone"], partial=True)(channels), channels, side, query)
    except UndefinedError:
        return False
    return True


def _ints(indices: Int[np.ndarray, " n"]) -> tuple[int, ...]:
    return tuple(indices.tolist())


def _seed(seed: int, row: int) -> int:
    """An encoder's own seed: 63 bits from the audit's seed and the row, whatever the other settings are."""
    return int.from_bytes(sha256(f"encoder {seed} {row}".encode()).digest()[:8]) >> 1

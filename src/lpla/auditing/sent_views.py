"""What reached the encoders of an audit, beside what was asked for: every view of every encoder, whoever is judged.

An attack learns from images that are not judged as well: shadows' own members, known non-members, candidates whose
membership was told. Had these been sent otherwise, it would learn what is not there, and a leak would go unseen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int64

from lpla.auditing.plan import Plan
from lpla.extraction.sent import expected, here
from lpla.metrics.nulls import BlindResult, SentViews, parity_auc, sent_as_asked
from lpla.store.artifacts import Store
from lpla.work.given import Given
from lpla.work.recipe import ExtractionRequest, Unit
from lpla.work.target import digests_of_views
from lpla.work.unit import load_sent


def views_of_target(plan: Plan, store: Store) -> BlindResult | None:
    """Whether the summaries that the extraction kept of the views of the target tell the groups apart."""
    target = plan.encoders.target
    for request in target.observations:
        sent = load_sent(target.unit, store, request, request.statistics[0])
        return parity_auc(sent.summaries[plan.judged], sent.projection[plan.judged], plan.member)
    return None


def sent_views(plan: Plan, store: Store) -> SentViews | None:
    """Compare what every encoder was given with the same views, made once more here; None if none was asked."""
    if not plan.encoders.target.observations:
        return None
    views, who = 0, []
    images, differing = set(), set()
    for unit, request in _asked(plan):
        # By the identity of the data set: of another one an equal index is another image.
        images |= {(id(unit.images), image) for image in request.index}
        same = _as_asked(unit, request, store)
        if not same.all():
            views += int((~same).sum())
            differing |= {(id(unit.images), request.index[row]) for row in np.flatnonzero(~same.all(axis=1)).tolist()}
            who.append(unit.name)
    return SentViews(views, len(differing), len(images), tuple(dict.fromkeys(who)))


def _asked(plan: Plan) -> Iterator[tuple[Unit, ExtractionRequest]]:
    """Whatever any encoder was asked for: of the pool, of known and fresh images, of labelled ones, at every epoch."""
    encoders = plan.encoders
    for subject in (encoders.target, *encoders.nulls, *encoders.shadows):
        for request in subject.unit.observations:
            yield subject.unit, request


def _as_asked(unit: Unit, request: ExtractionRequest, store: Store) -> Bool[np.ndarray, "N Q"]:
    """Whether each view of a request reached the encoder as it was asked for, in the passes of all its statistics."""
    asked = expected(unit.images, request.index, request.query)
    same = np.ones(asked.shape, dtype=bool)
    for statistic in request.statistics:
        sent = load_sent(unit, store, request, statistic)
        same &= sent_as_asked(sent.projection, asked, sent.maker == here())
        # Elsewhere a view may round to other bytes, which its projection forgives.
        if sent.digest is not None and sent.maker == here():
            same &= sent.digest == _digests(unit, request)
    return same


def _digests(unit: Unit, request: ExtractionRequest) -> Int64[np.ndarray, "N Q"]:
    """Digests of the bytes that stand for each view of a request."""
    assert isinstance(unit.source, Given)
    return digests_of_views(unit.source.target, unit.images, request.index, request.query)

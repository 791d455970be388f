"""The nulls of one row: what must tell the groups apart neither without an encoder, nor without membership."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from lpla.auditing.attack_run import AttackRun
from lpla.auditing.drawn import FEWEST_FRESH
from lpla.auditing.plan import Plan
from lpla.auditing.queried import QueriedEncoder, joined
from lpla.auditing.sent_views import sent_views, views_of_target
from lpla.contracts.evidence import Attack
from lpla.contracts.inputs import Images, InputError, UndefinedError
from lpla.contracts.streams import stream
from lpla.data.image_features import image_features
from lpla.extraction.statistic.principal_axes import OnAxes
from lpla.metrics import roc as evaluate
from lpla.metrics.compare import paired_auc
from lpla.metrics.nulls import (
    BlindResult,
    Departure,
    SentViews,
    fresh_images,
    permuted_membership,
    shadows_rows,
)
from lpla.metrics.roc import Estimate
from lpla.metrics.two_sample import TwoSample, two_sample
from lpla.metrics.verdict import Nulls
from lpla.store.artifacts import Store
from lpla.training.signals import check

Scores = Float[np.ndarray, " n"]
Member = Bool[np.ndarray, " n"]
OF_COPIES = ("modified",)
"""Facts of files that are no test of images: whoever copies them to two folders, one after the other, changes these."""
MOST_IMAGES, MOST_VALUES = 10_000, 2**27
"""Judged images, and values of all of them, at most, that the two-sample test uses."""


@dataclass(frozen=True)
class NullsOfData:
    """What is said of the images and of the views by no attack: the same for every row of a job."""

    images: TwoSample | None
    looked_at: Int[np.ndarray, " m"]
    """Which of the judged images that test used."""
    views: BlindResult | None
    sent: SentViews | None


def nulls_of_data(plan: Plan, store: Store) -> NullsOfData:
    """Test the judged images, and what every encoder was given of them."""
    member = plan.member
    return NullsOfData(
        images=_on_images(plan.images, tuple(plan.judged_index.tolist()), member.tobytes()),
        looked_at=_looked_at(plan.images, len(member)),
        views=views_of_target(plan, store),
        sent=sent_views(plan, store),
    )


@dataclass(frozen=True)
class NullsOfRow:
    """The nulls, the fields of the row that hold them, and why one that belongs there is absent."""

    nulls: Nulls
    untrained: Scores
    """Scores of the judged images by the target's initial weights."""
    notes: tuple[str, ...]

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of `AuditResult` that hold these nulls."""
        found = self.nulls
        images, views, excess = found.images, found.views, found.excess
        return {
            "null_untrained_auc": found.untrained_auc,
            "null_reference_auc": found.reference_auc,
            "null_permuted_auc": found.permuted and found.permuted.auc,
            "null_nonmembers_auc": found.fresh and found.fresh.auc,
            "null_shadows_auc": found.shadows and found.shadows.auc,
            "blind_auc": images and images.auc,
            "blind_p": images and images.p,
            "blind_feature": images.feature if images else "",
            **{f"excess_auc{end}": excess and getattr(excess, end[1:] or "value") for end in ("", "_low", "_high")},
            "null_parity_auc": views and views.auc,
            "null_parity_feature": views.feature if views else "",
            "null_sent_views": found.sent and found.sent.views,
        }


def nulls_of(plan: Plan, store: Store, trial: AttackRun, attack: Attack, data: NullsOfData | None = None) -> NullsOfRow:
    """Run every test that must not tell the groups apart.

    Args:
        plan: the audit.
        store: where its artifacts are.
        trial: the attack on the target at one layer.
        attack: the same, fitted.
        data: those of the images and views, where another row of the job has them; None: they are computed here.

    Returns:
        The results of all of them.
    """
    member, data = plan.member, data or nulls_of_data(plan, store)
    untrained, *more = (_without_the_images(plan, store, trial, attack, one) for one in plan.encoders.nulls)
    reference = more[0] if more else None
    fresh, absent = _fresh(plan, trial)
    permuted, refused = _permuted(trial, plan, member)
    found = Nulls(
        untrained_auc=evaluate.auc(untrained, member).value,
        reference_auc=None if reference is None else evaluate.auc(reference, member).value,
        images=data.images,
        views=data.views,
        sent=data.sent,
        permuted=permuted,
        fresh=fresh,
        shadows=_shadows(trial, attack, member),
        excess=_excess(data, trial, attack, member),
    )
    return NullsOfRow(found, untrained, tuple(f"{trial.layer}: {why}" for why in (absent, refused) if why))


def _without_the_images(plan: Plan, store: Store, trial: AttackRun, attack: Attack, subject: QueriedEncoder) -> Scores:
    """What the same attack says of an encoder that has seen none of the images."""
    run = AttackRun(plan, store, trial.layer, subject=subject)
    # Shadows teach the same whoever the target is; without them the attacker learns from the target at hand.
    return run.score(attack if plan.knowledge.has_shadows else run.fit())


def _looked_at(images: Images, judged: int) -> Int[np.ndarray, " m"]:
    """Choose the judged images that the two-sample test uses: of many as many as it has time for."""
    most = min(MOST_IMAGES, MOST_VALUES // images.pixels.shape[1:].numel())
    return np.sort(stream("images of the two-sample test", 0).permutation(judged)[:most])


def _excess(data: NullsOfData, trial: AttackRun, attack: Attack, member: Member) -> Estimate | None:
    """The attack's AUC less that of the images alone, on the images of that test; None where these say nothing."""
    if data.images is None or not data.images.distrust:
        return None
    score = trial.score(attack)[data.looked_at]
    spread = trial.plan.knowledge.spread
    return paired_auc(score, data.images.score, member[data.looked_at], spread=spread)[0]


@lru_cache(maxsize=4)
def _on_images(images: Images, index: tuple[int, ...], member: bytes) -> TwoSample | None:
    """The two-sample test on the stored images: the same for all layers and attacks of this process."""
    chosen = _looked_at(images, len(index))
    inside, shown = np.frombuffer(member, dtype=bool)[chosen], np.array(index)[chosen]
    features, names = image_features(images.pixels[shown].numpy())
    if images.lists is not None and images.names is not None and images.root is not None:
        # A drawn split makes the groups' files alike; the lists of a user need not be.
        from lpla.data.file_facts import file_facts  # Pillow comes with it, of which a job on arrays has no use.

        said, facts = file_facts(images.root, [images.names[int(i)] for i in shown])
        kept = [place for place, name in enumerate(said) if name not in OF_COPIES]
        features, names = np.hstack([features, facts[:, kept]]), (*names, *(f"file's {said[i]}" for i in kept))
    return two_sample(features, names, inside)


def _permuted(trial: AttackRun, plan: Plan, member: Member) -> tuple[Departure | None, str]:
    """AUCs of attacks that learnt from, and are judged by, memberships without truth; why there is none."""
    found = []
    for one in range(plan.permutations):
        check()
        try:
            score = trial.score(trial.fit(one))
        except UndefinedError as refused:
            return None, f"permuted membership: {refused}"
        found.append(evaluate.auc(score, trial.member(one)).value)
    return permuted_membership(found, int(member.sum()), int((~member).sum()), plan.knowledge.spread), ""


def _shadows(trial: AttackRun, attack: Attack, member: Member) -> Departure | None:
    """The attack on each shadow, judged by who was inside the target.

    The attack has learnt from that shadow too, which makes its score of the shadow's own members higher, but it knows
    nothing of the target's row, which is drawn independently of all of them: nothing need be left out.
    """
    encoders = trial.plan.encoders.shadows
    seen = [seen for seen, shadow in zip(trial.shadows, encoders, strict=True) if not shadow.foreign]
    if not seen:
        return None
    return shadows_rows(np.stack([attack.score(one)[trial.plan.judged] for one in seen]), member)


def _fresh(plan: Plan, trial: AttackRun) -> tuple[Departure | None, str]:
    """The attack on the target's non-members and on images that it never held, which were in no shadow either.

    Both groups must be new to the attack alike. It therefore learns from the other images of the shadows alone, and in
    its pooled form where it compares an image with itself under the shadows, which say nothing of a fresh image.
    Attacks that have no such form, and statistics on axes that the audited images define, have no such null. That is
    said first, as more images would not bring it.
    """
    outside = plan.judged & ~trial.subject.inside
    if plan.knowledge.kind == "labels":
        return None, "fresh images: by labels the attack learns from the non-members that are compared"
    if any(isinstance(one, OnAxes) for one in trial.configured.statistics()):
        return None, "fresh images: the attack's axes are found in the audited images, so that others are unlike them"
    if plan.encoders.fresh is None:
        return None, f"fresh images: at least {FEWEST_FRESH} images outside every training set are needed"
    both = joined(trial.target.part(outside), trial.look(plan.encoders.fresh))
    refused = ""
    for foreign in (False, True):
        try:
            score = trial.fit_apart(outside, foreign).score(replace(both, foreign=foreign))
        except InputError as problem:
            refused = str(problem)
            continue
        count = int(outside.sum())
        return fresh_images(score[:count], score[count:]), ""
    return None, f"fresh images: {refused}"

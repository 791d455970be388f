"""One attack on one encoder at one layer: what it sees, what it learns from, how it scores."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from lpla.auditing.named import left_out_scores
from lpla.auditing.plan import Plan
from lpla.auditing.queried import QueriedEncoder, label, see, usable_images
from lpla.contracts.evidence import Attack, Seen, ShadowScores
from lpla.contracts.inputs import InputError, UndefinedError
from lpla.contracts.settings import listed
from lpla.contracts.streams import stream_seed
from lpla.metrics.nulls import permuted
from lpla.store.artifacts import Store
from lpla.work.plug_in import plug_in

Scores = Float[np.ndarray, " n"]


class AttackRun:
    """Raises UndefinedError, at its beginning or in `fit`, where the attack does not exist under these settings.

    So it does where an attack refuses to learn from what it sees: what follows from counts was checked before anything
    was trained, so that what is left is said of answers of which too few are usable.
    """

    def __init__(
        self, plan: Plan, store: Store, layer: str, epoch: int | None = None, subject: QueriedEncoder | None = None
    ) -> None:
        """The target after `epoch` (None: its last), or another encoder, `subject`, in its place."""
        encoders = plan.encoders
        # Never fitted: to copy it costs less than to build it anew for every permutation.
        self.configured = plan.taught(plug_in(plan.attack))

        def look(subject: QueriedEncoder) -> Seen:
            return see(subject, store, self.configured, plan.looked_at(layer), plan.queries, epoch)

        self.plan, self.layer, self.look = plan, layer, look
        self.subject = subject or encoders.target
        self.target = look(self.subject)
        self.shadows = [look(shadow) for shadow in encoders.shadows]
        if plan.knowledge.of_one_encoder:
            self._set_beside()
        self.known = encoders.known and look(replace(encoders.known, unit=self.subject.unit))
        if subject is None:
            self._check_answers()

    def _check_answers(self) -> None:
        """Raise UndefinedError for encoders that tell nothing of any image, as those do whose training diverged."""
        answers = zip((self.subject, *self.plan.encoders.shadows), (self.target, *self.shadows), strict=True)
        silent = [one.unit.name for one, seen in answers if not usable_images(seen).any()]
        if silent:
            raise UndefinedError(f"every embedding is zero or not finite, of {listed(silent)}")

    def _set_beside(self) -> None:
        """Have others tell each image's level: all shadows that of the target, the others that of each of them.

        So does the reference, if it is to, but for its own: as a null it is attacked without.
        """
        pairs = zip(self.shadows, self.plan.encoders.shadows, strict=True)
        told = [label(seen, shadow.inside) for seen, shadow in pairs]
        reference, more = self.plan.encoders.reference, []
        if self.plan.knowledge.reference_levels and reference and self.subject is not reference:
            more = [label(self.look(reference), np.zeros(len(reference.index), dtype=bool))]
        self.target = replace(self.target, beside=(*told, *more))
        others = [(*told[:one], *told[one + 1 :], *more) for one in range(len(told))]
        self.shadows = [replace(seen, beside=beside) for seen, beside in zip(self.shadows, others, strict=True)]

    def fit(self, permutation: int | None = None) -> Attack:
        """The attack, having learnt what its knowledge allows; with a `permutation`, from memberships without truth."""
        try:
            return self._learnt(permutation)
        except InputError as refused:
            raise UndefinedError(str(refused)) from refused

    def _learnt(self, permutation: int | None) -> Attack:
        attack = deepcopy(self.configured)
        if self.known:
            return attack.fit_nonmembers(self.known)
        if self.plan.knowledge.of_one_encoder:
            told = self.plan.labelled
            # Of no other encoder is anything known, so that there is nothing to compare an image with itself by.
            seen = replace(self.target.part(told), foreign=True)
            return attack.fit([label(seen, self.membership(self.subject, permutation)[told])])
        pairs = zip(self.shadows, self.plan.encoders.shadows, strict=True)
        return attack.fit([label(seen, self.membership(shadow, permutation)) for seen, shadow in pairs])

    def fit_apart(self, left_out: Bool[np.ndarray, " N"], foreign: bool) -> Attack:
        """The attack, having learnt from other images of the shadows than those `left_out`.

        Without shadows it learns from none of the judged images anyway. With `foreign` the shadows' images count as
        those of another data set, so that an attack which can pools them. By labels of all there are no others.
        """
        if not self.plan.knowledge.has_shadows:
            return self.fit()
        taught = []
        for seen, shadow in zip(self.shadows, self.plan.encoders.shadows, strict=True):
            rows = np.ones(len(shadow.index), dtype=bool) if shadow.foreign else ~left_out
            part = replace(seen.part(rows), foreign=foreign or shadow.foreign)
            taught.append(label(part, shadow.inside[rows]))
        return deepcopy(self.configured).fit(taught)

    def membership(self, subject: QueriedEncoder, permutation: int | None = None) -> Bool[np.ndarray, " N"]:
        """Who was inside; with a `permutation`, every image carries another one's in all encoders."""
        if permutation is None:
            return subject.inside
        candidates = self.plan.membership.candidates
        if subject.foreign:
            candidates = np.ones(len(subject.index), dtype=bool)
        return permuted(
            subject.inside[None], candidates, stream_seed("permuted membership", self.plan.choices["seed"], permutation)
        )[0]

    def member(self, permutation: int | None = None) -> Bool[np.ndarray, " n"]:
        """Whether each judged image was inside the target; with a `permutation`, without truth."""
        if permutation is None:
            return self.plan.member
        return self.membership(self.subject, permutation)[self.plan.judged]

    def known_scores(self, attack: Attack) -> ShadowScores | None:
        """Scores of the shadows by attacks that did not learn from them; None without shadows, or with too few."""
        if not self.plan.knowledge.has_shadows:
            return None
        inside = [shadow.inside for shadow in self.plan.encoders.shadows]
        return left_out_scores(attack, self.configured, self.shadows, inside, self.plan.judged)

    def score(self, attack: Attack) -> Scores:
        """Scores of the images on which the attack is judged; sees them alone where it was told about others."""
        if self.plan.knowledge.has_shadows:
            return attack.score(self.target)[self.plan.judged]
        return attack.score(self.target.part(self.plan.judged))

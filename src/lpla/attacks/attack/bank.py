"""Bank: many statistics of an image, raw and whitened, weighed on shadows in one likelihood ratio (ours).

Which statistics take part is fixed before any target is seen; what each is worth is learnt on shadows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._bank_columns import BankColumns, CompletedColumns, WeighedBank
from lpla.attacks.attack._log_norms import PS
from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.attack._together import JudgedTogether
from lpla.attacks.likelihood.calibrated import Calibrated, Likelihood
from lpla.contracts.evidence import Labelled, Seen, Statistic
from lpla.contracts.settings import Count, Order, Orders, checked
from lpla.extraction.statistic.whitened import Direction


@checked
class Bank(ScalarAttack):
    """Attacks by a bank of statistics that is weighed on shadows.

    `BankColumns` weighed by `LinearRatio`, judged by `likelihood` as in `Calibrated`.

    `p` is the order of the norms, `queries` the budget. `collective`: candidates are judged together, each corrected
    for how many of its neighbours were inside, as `Collective` infers it. Fitted: `weighed_`, unless collective.
    """

    NEEDS = ("shadows or labels",)

    def __init__(
        self,
        *,
        p: Order = 2.0,
        ps: Orders = PS,
        queries: Count = 10,
        collective: bool = False,
        likelihood: Likelihood = "combined",
        tie_variance: bool = True,
    ) -> None:
        self.calibrated = Calibrated(likelihood=likelihood, tie_variance=tie_variance, on_one_scale=True)
        self.together = JudgedTogether(likelihood) if collective else None
        self._columns = BankColumns(p=p, ps=ps, queries=queries, norms_alone=False)

    def joins_layers(self) -> bool:
        """Return True: the columns of several layers are weighed as the columns of one layer are."""
        return True

    def statistics(self) -> tuple[Statistic, ...]:
        """Name the bank's statistics, and which images an encoder finds alike where candidates are judged together."""
        return (*self._columns.statistics(), *([Direction()] if self.together else []))

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Learn what each statistic is worth."""
        self.weighed_ = WeighedBank(self._columns).fit(shadows, self.calibrated.chosen(shadows))

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """Compute the weighted sum of the statistics."""
        return self.weighed_.scalars(seen)

    def fit(self, shadows: Sequence[Labelled]) -> Self:
        """Learn the weights, the likelihoods and the threshold."""
        self._set_aside = self._columns.set_aside(shadows) if shadows else []
        if self.together is None:
            return super().fit(shadows)
        self.calibrated.chosen(shadows)  # refuses to learn from no shadow
        self._completed = CompletedColumns(self._columns)
        features, _ = self._completed.fit(shadows, own_levels=True)
        self.together.fit(shadows, features, [one.values[Direction.name] for one in shadows])
        self.threshold_, self.shadow_scores_ = self.together.threshold_, self.together.shadow_scores_
        return self

    def score(self, target: Seen) -> Float[np.ndarray, " N"]:
        """log p(seen | in) - log p(seen | out), or what the likelihood offers in its place.

        An image of which no statistic says anything gets the score that favours neither side.
        """
        if self.together is None:
            return super().score(target)
        features, silent = self._completed.of(target)
        return np.where(silent, 0.0, self.together.score(target, features, target.values[Direction.name]))

    def scores_log_ratio(self) -> bool:
        """Collective scores are log ratios; else the calibration says."""
        return self.together is not None or super().scores_log_ratio()

    def fit_summary(self) -> dict[str, str | int | float]:
        """Return the calibration's summary."""
        return self.together.fit_summary() if self.together else super().fit_summary()

    def warnings(self) -> list[str]:
        """Return the calibration's warnings, what one view leaves out, and what was set aside."""
        alone = "with one view there are no angles and no spread: the bank is of norms alone"
        calibration = self.together.warnings() if self.together else super().warnings()
        return calibration + ([alone] if self._columns.queries == 1 else []) + self._set_aside

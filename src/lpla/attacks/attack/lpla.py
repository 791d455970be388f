"""LpLA: the p-norm of an image's embeddings, compared with shadows' (arXiv 2506.05743; the definition is ours)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, Self

import numpy as np
from jaxtyping import Float

from lpla.attacks.attack._bank_columns import BankColumns, WeighedBank
from lpla.attacks.attack._log_norms import PS, LogNorms
from lpla.attacks.attack._no_shadow import NEEDS_PIXELS, NoShadow, NoShadowModel
from lpla.attacks.attack._norms import CombinedNorms, best_column
from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.likelihood.calibrated import Calibrated, Likelihood
from lpla.attacks.likelihood.density import DensityName
from lpla.attacks.likelihood.nonmembers import Tail
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.contracts.evidence import Labelled, Seen, Statistic
from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, Order, Orders, checked

Norms = Literal["single", "select", "joint", "contrast", "whitened"]


@checked
class LpLA(ScalarAttack):
    """Likelihood ratio of "in" and "out" for the log-norms of an image's views.

    `likelihood`, `density` and `tie_variance` are those of `Calibrated`. `norms`: `single` uses p, `select` that p of
    `ps` which tells the shadows' members best, `joint` all of them together, `contrast` their differences alone,
    `whitened` the norms of a bank (`BankColumns`) for p, of which `queries` says how many views there are.
    Without shadows it uses p alone, and `no_shadow` and `tail` are those of `NoShadow`.
    """

    NEEDS = ("shadows, labels or known non-members",)

    def __init__(
        self,
        *,
        p: Order = 2.0,
        ps: Orders = PS,
        norms: Norms = "single",
        likelihood: Likelihood = "auto",
        density: DensityName = "gaussian",
        tie_variance: bool = True,
        no_shadow: NoShadowModel = "d1",
        tail: Tail = "both",
        queries: Count = 10,
    ) -> None:
        self.p = p
        self._log_norms = LogNorms([*ps, self.p])
        if norms == "contrast" and len(self._log_norms.statistic.ps) < 2:
            raise InputError(f"attack.norms=contrast needs at least 2 norms in attack.ps, got {list(ps)}")
        self.norms, self.p_, self.combined_ = norms, self.p, None
        self._bank = BankColumns(p=p, ps=ps, queries=queries, norms_alone=True)
        self.weighed_: WeighedBank | None = None
        self._calibration = partial(
            Calibrated,
            likelihood=likelihood,
            density=density,
            tie_variance=tie_variance,
            on_one_scale=norms == "whitened",
        )
        self.calibrated = self._calibration()
        self.no_shadow, self._conditions_on_pixels = NoShadow(no_shadow=no_shadow, tail=tail), no_shadow in NEEDS_PIXELS

    def looks_at_pixels(self) -> bool:
        """Return whether the images are used, as d2 does without shadows."""
        return self._conditions_on_pixels

    def joins_layers(self) -> bool:
        """A bank's columns of several layers are weighed as those of one are; a norm is one layer's."""
        return self.norms == "whitened"

    def statistics(self) -> tuple[Statistic, ...]:
        """The log-norms for every p of the sweep, so that one extraction serves them all; whitened ones for p alone."""
        return self._bank.statistics() if self.norms == "whitened" else (self._log_norms.statistic,)

    def learn(self, shadows: Sequence[Labelled]) -> None:
        """Learn which p to use, or how to weigh them all."""
        if self.norms == "whitened":
            self._set_aside = self._bank.set_aside(shadows)
            self.weighed_ = WeighedBank(self._bank).fit(shadows, self.calibrated.chosen(shadows))
            return
        self._set_aside = self._log_norms.set_aside(shadows)
        log_norms = [self._log_norms.all(shadow) for shadow in shadows]
        if self.norms == "select":
            self.p_ = self._log_norms.statistic.ps[best_column(self._calibration, shadows, log_norms)]
        elif self.norms != "single":
            per_sample = self.calibrated.chosen(shadows) in PER_SAMPLE
            member = [shadow.member for shadow in shadows]
            self.combined_ = CombinedNorms(self.norms == "contrast").fit(log_norms, member, per_sample)

    def check_nonmembers(self, images: int) -> None:
        """Raise InputError for norms that are chosen or weighed on shadows, and for too few images."""
        if self.norms != "single":
            raise InputError(
                f"attack.norms must be single without shadows, as only shadows say which norm is best, got {self.norms}"
            )
        super().check_nonmembers(images)

    def fit_nonmembers(self, known: Seen) -> Self:
        """Learn from known non-members by `no_shadow`, from the log-norms for p alone."""
        self.check_nonmembers(len(known.index))
        self._set_aside = []
        return super().fit_nonmembers(known)

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N Q"]:
        """Return the log-norms for one p, or one combination of all."""
        if self.weighed_ is not None:
            return self.weighed_.scalars(seen)
        log_norms = self._log_norms.all(seen)
        if self.combined_ is not None:
            return self.combined_.scalars(log_norms)
        return log_norms[..., self._log_norms.statistic.ps.index(self.p_)]

    def fit_summary(self) -> dict[str, str | int | float]:
        """Return the calibration's summary, and the p that was selected."""
        return super().fit_summary() | ({"p": self.p_} if self.norms == "select" else {})

    def warnings(self) -> list[str]:
        """Say where the threshold is not of the shadows' scores, which p was selected and what was set aside."""
        selected = [f"the shadows selected p={self.p_:g}"] if self.norms == "select" else []
        return super().warnings() + selected + self._set_aside

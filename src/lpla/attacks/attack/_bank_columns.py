"""The bank: everything that an encoder's answers to an image's views are summarised by, one number each (ours)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int

from lpla.attacks.attack import _pairs
from lpla.attacks.attack._log_norms import LogNorms, mean_of_known
from lpla.attacks.attack._threads import each, one_thread
from lpla.attacks.likelihood.combine import COLLINEAR, LinearRatio
from lpla.attacks.likelihood.levels import explained
from lpla.attacks.likelihood.per_sample import PER_SAMPLE
from lpla.attacks.likelihood.standardise import standardise
from lpla.contracts.evidence import Labelled, Seen, Statistic
from lpla.contracts.inputs import InputError
from lpla.extraction.statistic.cosine import Cosine
from lpla.extraction.statistic.log_norm import valid_p
from lpla.extraction.statistic.whitened import Whitened

COMPANIONS = (0.5, math.inf)
"""Orders of the norms that stand beside the one of order p: how evenly a vector's length is spread over its axes."""
MANY_SHADOWS = 4
"""Shadows from which on weights are learnt within images, where images are judged so."""
BETWEEN_VIEWS = ("spread", "log angle", "whitened log angle")
"""How the names of columns begin that compare an image's views with each other."""
TINY = 1e-9
"""Added to a spread before its logarithm: equal views have one."""


class BankColumns:
    """The statistics of one layer, or of several side by side, by name.

    Of the vectors: mean log-norm for p and for `COMPANIONS`, and the log of the log-norm's deviation over the views.
    Of the whitened ones, for each ridge: mean log-norm over the views, log-norm of the mean view, log-norm of the clean
    view, all of order p. Unless `norms_alone`, the log angle of both. With one view there is no pair and no spread, and
    the three whitened norms are one.
    """

    def __init__(self, *, p: float, ps: Sequence[float], queries: int, norms_alone: bool) -> None:
        """Choose the columns.

        Args:
            p: order of the norms.
            ps: orders that an extraction keeps anyway, so that nothing is extracted twice.
            queries: number of views of each image that the audit uses.
            norms_alone: whether angles between views stay out of it.

        Raises:
            InputError: if an order is no order of a norm, or `queries` is not a positive integer.
        """
        if isinstance(queries, bool) or not isinstance(queries, int) or queries < 1:
            raise InputError(f"attack.queries must be an integer >= 1, got {queries!r}")
        self.p, self.queries, self._angles = valid_p(p), queries, queries > 1 and not norms_alone
        self._norms, self._whitened = LogNorms([*ps, self.p, *COMPANIONS]), Whitened(self.p)

    def statistics(self) -> tuple[Statistic, ...]:
        """What of each encoder they are made from."""
        return (self._norms.statistic, *([Cosine()] if self._angles else []), self._whitened)

    def features(self, seen: Seen) -> Float[np.ndarray, "N F"]:
        """The columns, each on the one scale of `standardise`; nan where an image has no value that compares.

        Of fewer views than the others have, what lies between views is noisier, and a spread is lower: it is unknown.
        Where shadows beside them tell each image's level, it is taken out.
        """
        columns = []
        for part in seen.by_layer().values():
            found, usable = self.columns(part)
            fewer = usable.any(axis=1) & ~usable.all(axis=1)
            for name, one in found.items():
                comparable = np.where(fewer & name.startswith(BETWEEN_VIEWS), np.nan, one)
                columns.append(standardise(comparable[:, None]))
        joint = np.concatenate(columns, axis=1)
        if not seen.beside:
            return joint
        others = np.stack([self.features(one) for one in seen.beside])
        return joint - explained(joint, others, np.stack([one.member for one in seen.beside]))

    def columns(self, seen: Seen) -> tuple[dict[str, Float[np.ndarray, " N"]], Bool[np.ndarray, "N Q"]]:
        """Compute a layer's columns by name, not finite where an image has none, and the usable views."""
        log_norms = self._norms.all(seen)
        usable = np.asarray(np.isfinite(log_norms).all(axis=2))
        orders = sorted({self.p, *COMPANIONS})
        of = {p: log_norms[..., self._norms.statistic.ps.index(p)] for p in orders}
        found = {f"norm {p:g}": mean_of_known(one, usable) for p, one in of.items()}
        if self.queries > 1:
            found["spread"] = _log_deviation(of[self.p], usable)
        if self._angles:
            found["log angle"] = _pairs.log_angle(seen)
        for r, ridge in enumerate(self._whitened.ridges):
            whitened = seen.values[Whitened.name][:, :, r]
            own = whitened[:, :, 0].astype(np.float64)
            of_mean, angle = (whitened[:, -1, part].astype(np.float64) for part in (1, 2))
            found[f"whitened norm {ridge:g}"] = mean_of_known(own, ~np.isnan(own))
            if self.queries > 1:
                found[f"whitened norm of the mean {ridge:g}"] = of_mean
                found[f"whitened norm of the clean view {ridge:g}"] = own[:, 0]
            if self._angles:
                found[f"whitened log angle {ridge:g}"] = angle
        return found, usable

    def set_aside(self, shadows: Sequence[Seen]) -> list[str]:
        """The sentence on the shadows' embeddings that say nothing."""
        return self._norms.set_aside([part for shadow in shadows for part in shadow.by_layer().values()])


class CompletedColumns:
    """The columns of encoders, in which a statistic that an image lacks is what the others of the image let expect.

    That is the image's own level, its mean over the shadows, and what the other statistics' distances from theirs add
    by least squares: at the middle of all images it would be far from the image's. The level is 0 where no shadow has
    it, and where the encoders were asked about other images. Fitted: `levels_`, `covariance_` (about them).
    """

    def __init__(self, columns: BankColumns) -> None:
        self._columns = columns

    @one_thread()
    def fit(
        self, shadows: Sequence[Labelled], own_levels: bool
    ) -> tuple[Float[np.ndarray, "K N F"], Bool[np.ndarray, "K N"]]:
        """Learn the levels of the images, unless the shadows hold others than the target; returns all of `of`."""
        found = np.stack(each(self._columns.features, shadows))
        known, silent = np.isfinite(found), np.zeros(found.shape[:2], dtype=bool)
        self._index, self.levels_ = shadows[0].index, np.zeros(found.shape[1:])
        if own_levels:
            self.levels_ = np.where(known, found, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        whole = (found - self.levels_)[known.all(axis=2)]
        self.covariance_ = whole.T @ whole / max(len(whole), 1)

        def complete(k: int) -> None:
            found[k], silent[k] = self._completed(found[k], shadows[k].index)

        each(complete, range(len(shadows)))
        return found, silent

    def of(self, seen: Seen) -> tuple[Float[np.ndarray, "N F"], Bool[np.ndarray, " N"]]:
        """The columns of one encoder, completed, and the images of which no statistic says anything."""
        return self._completed(self._columns.features(seen), seen.index)

    def _completed(
        self, x: Float[np.ndarray, "N F"], index: Int[np.ndarray, " N"]
    ) -> tuple[Float[np.ndarray, "N F"], Bool[np.ndarray, " N"]]:
        known = np.isfinite(x)
        if known.all():
            return x, np.zeros(len(x), dtype=bool)
        levels = self.levels_ if np.array_equal(index, self._index) else np.zeros(x.shape)
        found = np.where(known, x, levels)
        left = ~known.all(axis=1)
        while left.any():
            there = known[left.argmax()]
            alike = (known == there).all(axis=1)
            left &= ~alike
            slopes = np.linalg.pinv(self.covariance_[np.ix_(there, there)], rcond=COLLINEAR, hermitian=True)
            added = (found - levels)[alike][:, there] @ slopes @ self.covariance_[np.ix_(there, ~there)]
            found[np.ix_(alike, ~there)] += added
        return found, np.logical_not(known.any(axis=1))


class WeighedBank:
    """One number per image: the columns, weighed by `LinearRatio` on the shadows. Fitted: `ratio_`."""

    def __init__(self, columns: BankColumns) -> None:
        self._completed = CompletedColumns(columns)

    def fit(self, shadows: Sequence[Labelled], likelihood: str) -> Self:
        """Learn the weights that suit a calibration by `likelihood`."""
        x, silent = self._completed.fit(shadows, likelihood in PER_SAMPLE)
        x[silent] = np.nan
        inside = np.stack([one.member for one in shadows])
        self.ratio_ = LinearRatio(likelihood in PER_SAMPLE and len(shadows) >= MANY_SHADOWS).fit(x, inside)
        return self

    def scalars(self, seen: Seen) -> Float[np.ndarray, "N 1"]:
        """The weighted sum, the same for every encoder and so on one scale; nan for an image that says nothing."""
        x, silent = self._completed.of(seen)
        return np.where(silent, np.nan, self.ratio_.project(x))[:, None]


def _log_deviation(x: Float[np.ndarray, "N Q"], usable: np.ndarray) -> Float[np.ndarray, " N"]:
    """Log of the standard deviation over the usable views; nan where there are not two of them."""
    mean = np.nan_to_num(mean_of_known(x, usable))
    centred = np.subtract(x, mean[:, None], out=np.zeros(x.shape), where=usable)
    deviation = np.sqrt(np.nan_to_num(mean_of_known(centred**2, usable)))
    return np.where(usable.sum(axis=1) > 1, np.log(deviation + TINY), np.nan)

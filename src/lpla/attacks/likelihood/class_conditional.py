"""Random-effects likelihood of the views of one image under "in" and "out", pooled over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from lpla.attacks.likelihood.density import DENSITIES, DensityName
from lpla.attacks.likelihood.standardise import view_moments
from lpla.contracts.inputs import InputError

Views = int | Int[np.ndarray, " N"]
FLOOR = 1e-6
"""Smallest variance allowed, as a part of the total variance of u: keeps identical views from a division by zero."""


class ClassConditional:
    """One distribution for all members and one for all non-members.

    m_i ~ N(mu_y, tau_y^2) and u_iq | m_i ~ N(m_i, sig_y^2), y = 0 (out) or 1 (in); one shadow is enough.

    Fitted, each indexed by y: `mu_`, `tau2_`, `sig2_`. With one view the two variances cannot be told apart: `tau2_` is
    the variance of u and `sig2_` is 0. Another `density` than `gaussian` replaces the normal law of an image's mean
    over its views, N(mu_y, tau_y^2 + sig_y^2/Q), and leaves the views' law around it.
    """

    def __init__(self, tie_variance: bool, density: DensityName = "gaussian") -> None:
        self.tie_variance, self.density = tie_variance, density

    def fit(self, u: Sequence[Float[np.ndarray, "N Q"]], member: Sequence[Bool[np.ndarray, " N"]]) -> Self:
        """Learn from one array of standardised views per shadow and that shadow's members."""
        mean, within, views = _moments(np.concatenate(u))
        known = np.isfinite(mean)
        inside = np.concatenate(member)
        sides = (~inside & known, inside & known)
        counts = np.array([side.sum() for side in sides])
        if counts.min() < 2:
            raise InputError(
                "attack.likelihood=class_conditional needs at least 2 members and 2 non-members in the shadows, "
                f"got {counts[1]} and {counts[0]}"
            )
        self.queries_ = u[0].shape[1]
        # 1 for an image all of whose views are usable; a mean over fewer views varies more.
        share = np.broadcast_to(views / self.queries_, mean.shape)
        self.mu_ = np.array([mean[side].mean() for side in sides])
        within_squares = self.queries_ * np.array([(share * within)[side].sum() for side in sides])
        within_dof = self.queries_ * np.array([share[side].sum() for side in sides]) - counts
        between_squares = np.array([np.sum((mean[side] - mean[side].mean()) ** 2) for side in sides])
        floor = FLOOR * (within[known].mean() + mean[known].var() or 1.0)
        self.sig2_ = np.zeros(2)
        if self.queries_ > 1:
            self.sig2_ = np.maximum(self._variance(within_squares, within_dof), floor)
        views_of_mean = self.queries_ * counts / np.array([(1 / share[side]).sum() for side in sides])
        self.tau2_ = np.maximum(self._variance(between_squares, counts - 1) - self.sig2_ / views_of_mean, floor)
        if self.density != "gaussian":
            self.density_ = DENSITIES[self.density]().fit([mean[side] for side in sides], self.tie_variance)
        return self

    def _variance(self, squares: Float[np.ndarray, " 2"], dof: Real[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
        return np.full(2, squares.sum() / dof.sum()) if self.tie_variance else squares / dof

    def score(self, u: Float[np.ndarray, "N Q"]) -> Float[np.ndarray, " N"]:
        """log p(u_i | in) - log p(u_i | out); nan for an image without a usable view."""
        if u.shape[1] != self.queries_:
            raise ValueError(f"the shadows were seen through {self.queries_} views, the target through {u.shape[1]}")
        mean, within, views = _moments(u)
        of_mean = self._gaussian(mean, views, 1) - self._gaussian(mean, views, 0)
        if self.density != "gaussian":
            of_mean = self.density_.log_ratio(mean)
        return of_mean + self._log_around(within, views, 1) - self._log_around(within, views, 0)

    def _gaussian(self, mean: Float[np.ndarray, " N"], views: Views, y: int) -> Float[np.ndarray, " N"]:
        """log p(m_i | y) without the constant log(2 pi / Q) / 2, which the ratio cancels."""
        marginal = self.sig2_[y] + views * self.tau2_[y]
        return -0.5 * (np.log(marginal) + views * (mean - self.mu_[y]) ** 2 / marginal)

    def _log_around(self, within: Float[np.ndarray, " N"], views: Views, y: int) -> Float[np.ndarray, " N"]:
        """log p(u_i | m_i, y), without what the ratio cancels."""
        if self.queries_ == 1:
            return np.zeros_like(within)
        return -0.5 * ((views - 1) * np.log(self.sig2_[y]) + views * within / self.sig2_[y])


def _moments(u: Float[np.ndarray, "N Q"]) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"], Views]:
    """Compute moments of the usable views, nan where there is none, and their count: one number if all are usable."""
    usable = np.isfinite(u)
    return *view_moments(u), u.shape[1] if usable.all() else np.maximum(usable.sum(axis=1), 1)

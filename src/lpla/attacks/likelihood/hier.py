"""Hierarchical per-sample likelihood over many shadows: each image its own level, gap and noise.

x_ki = b_i + M_ki d_i + e_ki, (b, d) ~ N([b0, D], [[t2, c], [c, w2]]), e_ki ~ N(0, s_i^2). For an image that no shadow
was trained on (n_in = 0) it is an offline attack; with many shadows it tends to LiRA (arXiv 2112.03570).
"""

from __future__ import annotations

from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.cells import Cells
from lpla.attacks.likelihood.variance_prior import fit_variance_prior, moderate
from lpla.contracts.inputs import InputError

LARGEST_CORRELATION = 0.95


class Hier:
    """A hierarchical model of each image's own level, noise and gap, given its values under shadows.

    Fitted: the prior `b0_`, `D_`, `t2_`, `w2_`, `c_`, `d0_`, `s02_` and, per image, what its shadows add to it.
    """

    neutral_ = 0.0

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn from the standardised mean of image i under shadow k, which was trained on it or not."""
        cells = Cells.of(x, inside)
        (self.n_out_, self.n_in_), (self.xout_, self.xin_) = cells.n, cells.mean
        squares, dof = cells.squares.sum(axis=0), cells.dof.sum(axis=0)
        _check(len(x), dof, cells.paired)
        self.d0_, self.s02_ = fit_variance_prior(squares[dof > 0], dof[dof > 0])
        self._fit_effects(squares.sum() / dof.sum(), cells)
        self.nu_ = self.d0_ + dof
        self.s2_ = moderate(squares, dof, self.d0_, self.s02_)
        return self

    def _fit_effects(self, s2: float, cells: Cells) -> None:
        """Moments of (b_i, d_i): what the cell means vary by beyond their sampling noise s2/n."""
        outside, paired = self.n_out_ > 0, cells.paired
        xout, n_out = self.xout_[paired], self.n_out_[paired]
        gap = self.xin_[paired] - xout
        noise = 1 / self.n_in_[paired] + 1 / n_out
        self.b0_ = self.xout_[outside].mean()
        self.D_ = cells.gap()
        self.w2_ = max(gap.var(ddof=1) - s2 * noise.mean(), 0.0)
        self.t2_ = max(self.xout_[outside].var(ddof=1) - s2 * (1 / self.n_out_[outside]).mean(), 0.0)
        covariance = np.cov(xout, gap)[0, 1] + s2 * (1 / n_out).mean()
        bound = LARGEST_CORRELATION * np.sqrt(self.t2_ * self.w2_)
        self.c_ = float(np.clip(covariance, -bound, bound))

    def score(
        self, x0: Float[np.ndarray, " N"], extra: Float[np.ndarray, "*N"] | float = 0.0
    ) -> Float[np.ndarray, " N"]:
        """log t_nu(x_0i | in) - log t_nu(x_0i | out), with the posterior of (b_i, d_i) given the shadows.

        `extra` is variance of the value beyond that of the model, where the value itself is uncertain.
        """
        if x0.shape != self.s2_.shape:
            raise ValueError(f"the shadows hold {len(self.s2_)} images, the target {len(x0)}")
        (eb, ed), (vb, cov, vd) = self._posterior()
        inside = self._log_predictive(x0 - eb - ed, vb + 2 * cov + vd + self.s2_ + extra)
        return inside - self._log_predictive(x0 - eb, vb + self.s2_ + extra)

    def _posterior(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Means of (b, d) and their covariance (Var b, Cov, Var d), per image.

        P = (S0^-1 + L)^-1 = (I + S0 L)^-1 S0, L = [[lo + li, li], [li, li]] the shadows' precision. The second form
        exists also when t2 or w2 is 0; every term of its determinant is >= 0, so nothing cancels.
        """
        li, lo = self.n_in_ / self.s2_, self.n_out_ / self.s2_
        t2, w2, c = self.t2_, self.w2_, self.c_
        s0_det = t2 * w2 - c * c
        det = 1 + t2 * lo + (t2 + 2 * c + w2) * li + s0_det * lo * li
        vb = (t2 + s0_det * li) / det
        vd = (w2 + s0_det * (lo + li)) / det
        cov = (c - s0_det * li) / det
        from_out = lo * (self.xout_ - self.b0_)
        from_in = li * (self.xin_ - self.b0_ - self.D_)
        eb = self.b0_ + vb * (from_out + from_in) + cov * from_in
        ed = self.D_ + cov * (from_out + from_in) + vd * from_in
        return (eb, ed), (vb, cov, vd)

    def _log_predictive(
        self, residual: Float[np.ndarray, " N"], scale2: Float[np.ndarray, " N"]
    ) -> Float[np.ndarray, " N"]:
        """Log density of a Student-t without the terms in nu alone, which the ratio cancels; normal where nu is inf."""
        ratio = residual**2 / scale2
        if np.isinf(self.d0_):
            return -0.5 * (np.log(scale2) + ratio)
        return -0.5 * (np.log(scale2) + (self.nu_ + 1) * np.log1p(ratio / self.nu_))


def _check(shadows: int, dof: np.ndarray, paired: Bool[np.ndarray, " N"]) -> None:
    if not dof.any():
        raise InputError(
            "attack.likelihood=hier needs at least 4 shadows in the balanced layout "
            f"(some image with two shadows on the same side), got {shadows}"
        )
    if paired.sum() < 2:
        raise InputError(
            "attack.likelihood=hier needs at least 2 images that one shadow was trained on and another was not, "
            f"got {paired.sum()}"
        )

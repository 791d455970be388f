"""Crossed likelihood: an image compared with itself under any number of shadows, one included (our section 4.6).

x_ki = mu_M + b_i + e_ki, b_i ~ N(0, t2), e_ki ~ N(0, s2): every image has its own level b_i, which all encoders share,
and one variance serves all images. With a single shadow nothing within the shadows tells the level's variance t2 from
the noise s2; the target does. Its membership was drawn independently of the shadows', so what its values and theirs
share over the images is t2, whoever its members are: no label of the target is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
from jaxtyping import Bool, Float

from lpla.attacks.likelihood.hier import Hier
from lpla.contracts.inputs import InputError

LARGEST_SHARE = 0.98
"""Largest part of the variance that may be the images' own: keeps the noise from vanishing by chance."""

LogRatio = Callable[[Float[np.ndarray, " N"], Float[np.ndarray, "*N"]], Float[np.ndarray, " N"]]
"""Value of every image, and variance added to its prediction -> log p(value | in) - log p(value | out)."""


class Crossed:
    """The crossed likelihood of one standardised scalar per image and encoder.

    Fitted: `mu_` (means outside and inside, over images and shadows), `D_` (their difference), `v_` (the variance about
    them); and, once a target was scored, `t2_` and `s2_`.
    """

    neutral_ = 0.0

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Learn the two means and what the shadows share.

        Args:
            x: the standardised value of image i under shadow k.
            inside: whether shadow k was trained on image i.

        Returns:
            The model itself.

        Raises:
            InputError: if no shadow held any of the images, or none was without one.
        """
        members = int(inside.sum())
        if not 0 < members < inside.size:
            raise InputError(
                "attack.likelihood=crossed needs shadows with members and non-members among the images, "
                f"got {members} and {inside.size - members}"
            )
        self.mu_ = np.array([x[~inside].mean(), x[inside].mean()])
        self.D_ = float(self.mu_[1] - self.mu_[0])
        self._centred = x - self.mu_[inside.astype(int)]
        self.v_ = float((self._centred**2).mean())
        # The sum over all pairs of shadows of their covariances is half of what the square of the sum has beside them.
        total, own = self._centred.sum(axis=0), (self._centred**2).sum(axis=0)
        self._shared_by_shadows = float((total**2 - own).mean() / 2)
        return self

    def given(self, target: Float[np.ndarray, " N"]) -> LogRatio:
        """The log ratio of "in" and "out" for this target, whose values are compared with the shadows' here."""
        shadows = len(self._centred)
        total = self._centred.sum(axis=0)
        shared = self._shared_by_shadows + float((total * (target - target.mean())).mean())
        pairs = shadows * (shadows - 1) / 2 + shadows
        self.t2_ = float(np.clip(shared / pairs, 0.0, LARGEST_SHARE * self.v_))
        self.s2_ = self.v_ - self.t2_
        # Where nothing varies there is no gap either, and every ratio is 0, whatever is divided by.
        noise = self.s2_ or 1.0
        weight = self.t2_ / (self.t2_ + noise / shadows)
        level = self.mu_[0] + weight * total / shadows
        variance = self.t2_ * (1 - weight) + noise

        def log_ratio(value: Float[np.ndarray, " N"], extra: Float[np.ndarray, "*N"]) -> Float[np.ndarray, " N"]:
            return ((value - level) * self.D_ - self.D_**2 / 2) / (variance + extra)

        return log_ratio

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """log p(x_0i | in) - log p(x_0i | out), given the image's values under the shadows."""
        if x0.shape != self._centred.shape[1:]:
            raise ValueError(f"the shadows hold {self._centred.shape[1]} images, the target {len(x0)}")
        return self.given(x0)(x0, np.zeros(len(x0)))


class Combined:
    """Mean of the log ratios of `Hier`, which knows each image's noise and gap, and of `Crossed`, which pools them.

    Fitted: `D_`, and the two models `hier_` and `crossed_`. At least 4 shadows, as `Hier` needs.
    """

    neutral_ = 0.0

    def fit(self, x: Float[np.ndarray, "K N"], inside: Bool[np.ndarray, "K N"]) -> Self:
        """Fit both models to the standardised value of image i under shadow k, which was trained on it or not."""
        self.hier_, self.crossed_ = Hier().fit(x, inside), Crossed().fit(x, inside)
        self.D_ = self.hier_.D_
        return self

    def given(self, target: Float[np.ndarray, " N"]) -> LogRatio:
        """The mean log ratio for this target."""
        crossed = self.crossed_.given(target)
        return lambda value, extra: (self.hier_.score(value, extra) + crossed(value, extra)) / 2

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """The mean of both scores."""
        return (self.hier_.score(x0) + self.crossed_.score(x0)) / 2

"""Crossed likelihood: an image compared with itself under any number of shadows, one included.

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
            x: the standardised value of image i under shadow k; nan where that shadow has no usable view of it.
            inside: whether shadow k was trained on image i.

        Returns:
            The model itself.

        Raises:
            InputError: if no shadow held any of the images, or none was without one.
        """
        known = np.isfinite(x)
        members, others = int((inside & known).sum()), int((~inside & known).sum())
        if not members or not others:
            raise InputError(
                "attack.likelihood=crossed needs shadows with members and non-members among the images, "
                f"got {members} and {others}"
            )
        self.mu_ = np.array([x[~inside & known].mean(), x[inside & known].mean()])
        self.D_ = float(self.mu_[1] - self.mu_[0])
        self._times, self._centred = known.sum(axis=0), np.where(known, x - self.mu_[inside.astype(int)], 0.0)
        self.v_ = float((self._centred**2).mean()) * (known.size / int(known.sum()))
        # The sum over all pairs of shadows of their covariances is half of what the square of the sum has beside them.
        total, own = self._centred.sum(axis=0), (self._centred**2).sum(axis=0)
        self._shared_by_shadows = float((total**2 - own).mean() / 2)
        return self

    def given(self, target: Float[np.ndarray, " N"]) -> LogRatio:
        """Return the log ratio of "in" and "out" for this target, whose values are compared with the shadows' here."""
        shadows, known = self._times, np.isfinite(target)
        total = self._centred.sum(axis=0)
        mean = target.mean() if known.all() else target[known].mean() if known.any() else 0.0
        shared = self._shared_by_shadows + float((total * np.where(known, target - mean, 0.0)).mean())
        # Of every image; 1 at least, as without any pair nothing is shared.
        pairs = max(float((shadows * (shadows - 1) / 2 + shadows * known).mean()), 1.0)
        self.t2_ = float(np.clip(shared / pairs, 0.0, LARGEST_SHARE * self.v_))
        self.s2_ = self.v_ - self.t2_
        # Where nothing varies there is no gap either, and every ratio is 0, whatever is divided by.
        noise = self.s2_ or 1.0
        # An image of which no shadow knows anything has a total of 0, and the mean for its level.
        weight = np.where(shadows > 0, self.t2_ / (self.t2_ + noise / np.maximum(shadows, 1)), 0.0)
        level = self.mu_[0] + weight * total / np.maximum(shadows, 1)
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
        """Return the mean log ratio for this target."""
        crossed = self.crossed_.given(target)
        return lambda value, extra: (self.hier_.score(value, extra) + crossed(value, extra)) / 2

    def score(self, x0: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        """Return the mean of both scores."""
        return (self.hier_.score(x0) + self.crossed_.score(x0)) / 2

"""From a score to a probability of membership (Platt 1999; base rates as in Saerens, Latinne & Decaestecker 2002)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from lpla.contracts.evidence import ShadowScores
from lpla.contracts.result import InputError

WEAK = 1e6
"""Inverse strength of the penalty: it leaves only the one curve that ties would leave open."""
FARTHEST = 100.0
"""Median magnitudes at which an outlier among the shadows' scores stands for the fit."""
SHARPNESS = 3.0
"""Scores up to a third of the median magnitude enter as they are, larger ones by their logarithm: the likelihood ratios
of few shadows are exaggerated the more the larger they are."""
CERTAIN = 1e-12
"""No probability is nearer to 0 or to 1."""


def posterior(
    score: Float[np.ndarray, " N"],
    shadow: ShadowScores | None,
    prior: float,
    usable: Bool[np.ndarray, " N"] | None = None,
) -> Float[np.ndarray, " N"]:
    """Compute the probability that each image is a member, if a part `prior` of all images in question are.

    A logistic curve of the shadows' scores, asinh(3 s / median |s|), gives the weight of evidence of a score: its
    log-odds less those of the shadows' own proportion of members. A curve that falls would call an image the less a
    member the more the attack says that it is one: then the shadows show no evidence in the attack's own direction, and
    every image gets the prior.

    Args:
        score: One score per image of the target, higher = member.
        shadow: The shadows' left-out scores; None takes the score itself as the log-likelihood ratio.
        prior: Probability of membership before the attack, above 0 and below 1.
        usable: Images of which something was seen, all by default; of the others the prior is all that is known.

    Returns:
        A probability for each image.

    Raises:
        InputError: If the prior is not between 0 and 1, or the shadows have no members or no non-members.
    """
    if not 0 < prior < 1:
        raise InputError(f"prior must be a number between 0 and 1, both excluded, got {prior}")
    _check(score)
    evidence = score if shadow is None else _evidence(score, shadow.score, shadow.member)
    if usable is not None:
        evidence = np.where(usable, evidence, 0.0)
    return np.clip(expit(evidence + logit(prior)), CERTAIN, 1 - CERTAIN)


def _evidence(
    score: Float[np.ndarray, " N"], known: Float[np.ndarray, " M"], member: Bool[np.ndarray, " M"]
) -> Float[np.ndarray, " N"]:
    """Log-likelihood ratio of each score, by Platt's fit: its soft labels keep separated groups from a step."""
    _check(known)
    inside, outside = int(member.sum()), int((~member).sum())
    if not inside or not outside:
        raise InputError(f"the posterior needs members and non-members among the shadows, got {inside} and {outside}")
    if known.min() == known.max():
        return np.zeros(len(score))
    scale = float(np.median(np.abs(known)) or np.abs(known).mean())
    x = np.arcsinh(SHARPNESS * np.clip(known / scale, -FARTHEST, FARTHEST))
    soft = np.where(member, (inside + 1) / (inside + 2), 1 / (outside + 2))
    curve = LogisticRegression(C=WEAK, solver="newton-cholesky", max_iter=1000)
    labels = np.repeat([True, False], len(x))
    curve.fit(np.tile(x, 2)[:, None], labels, sample_weight=np.concatenate([soft, 1 - soft]))
    slope, base = float(np.ravel(curve.coef_)[0]), float(np.ravel(curve.intercept_)[0])
    if slope <= 0:
        return np.zeros(len(score))
    return slope * np.arcsinh(SHARPNESS * score / scale) + base - logit(inside / len(member))


def _check(score: Float[np.ndarray, " N"]) -> None:
    if unusable := int((~np.isfinite(score)).sum()):
        raise ValueError(f"the posterior needs finite scores, {unusable} of {len(score)} are not")

"""What an encoder is worth: kNN and linear accuracy of its frozen embeddings, and whether they have collapsed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lpla.contracts.result import InputError

KNN_TEMPERATURE = 0.1
VERSION = 2
"""Raise it when a change here changes an accuracy."""


@dataclass(frozen=True)
class Accuracy:
    """How many images are put into their own class."""

    plain: float
    """Share of the images."""
    balanced: float
    """Mean over the classes of each class' own share, so that a frequent class weighs no more than a rare one."""


def knn_accuracy(
    bank_x: Float[np.ndarray, "M D"],
    bank_y: Int[np.ndarray, " M"],
    test_x: Float[np.ndarray, "T D"],
    test_y: Int[np.ndarray, " T"],
    k: int = 200,
) -> Accuracy:
    """Classify by the k nearest embeddings by cosine, votes weighted exp(similarity / 0.1) as in lightly (arXiv
    1805.01978).

    Args:
        bank_x: embeddings of the images among which neighbours are looked for.
        bank_y: their classes.
        test_x: embeddings of the images that are classified.
        test_y: their classes.
        k: neighbours that vote; at most the whole bank.

    Returns:
        The accuracy, by image and by class, and what naming the most frequent class gets.

    Raises:
        InputError: the bank has fewer than two classes.
    """
    _check_utility(bank_x, bank_y, test_x, test_y)

    def weights(distance: Float[np.ndarray, "T k"]) -> Float[np.ndarray, "T k"]:
        return np.exp(-distance / KNN_TEMPERATURE)

    model = KNeighborsClassifier(
        min(k, len(bank_x)),
        metric="cosine",
        weights=weights,  # pyright: ignore[reportArgumentType]  (documented; the stub knows only the names)
    )
    right = model.fit(bank_x, bank_y).predict(test_x) == test_y
    return Accuracy(float(right.mean()), float(np.mean([right[test_y == one].mean() for one in np.unique(test_y)])))


def chance(bank_y: Int[np.ndarray, " M"], test_y: Int[np.ndarray, " T"]) -> float:
    """Return the accuracy of a classifier that always names the bank's most frequent class."""
    classes, counts = np.unique(bank_y, return_counts=True)
    return float((test_y == classes[counts.argmax()]).mean())


def linear_accuracy(
    bank_x: Float[np.ndarray, "M D"],
    bank_y: Int[np.ndarray, " M"],
    test_x: Float[np.ndarray, "T D"],
    test_y: Int[np.ndarray, " T"],
) -> float:
    """Classify by a logistic regression on the frozen, standardised embeddings.

    Args:
        bank_x: embeddings of the images from which it learns.
        bank_y: their classes.
        test_x: embeddings of the images that are classified.
        test_y: their classes.

    Returns:
        The share of images that are classified correctly.
    """
    _check_utility(bank_x, bank_y, test_x, test_y)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000, random_state=0))
    return float(model.fit(bank_x.astype(np.float64), bank_y).score(test_x.astype(np.float64), test_y))


def _check_utility(bank_x: np.ndarray, bank_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> None:
    for name, x, y in (("bank", bank_x, bank_y), ("test", test_x, test_y)):
        if len(x) != len(y) or not len(x):
            raise ValueError(f"utility needs one label per {name} image and at least one, got {len(x)} and {len(y)}")
        if unusable := int((~np.isfinite(x).all(axis=1)).sum()):
            raise ValueError(f"utility needs finite embeddings, {unusable} of {len(x)} in the {name} are not")
    if len(np.unique(bank_y)) < 2:
        raise InputError("utility needs at least 2 classes in the bank, got 1")


def embedding_spread(x: Float[np.ndarray, "N D"]) -> float:
    """Return the mean over dimensions of the deviation of unit embeddings, times sqrt(D): 0 collapsed, 1 isotropic.

    SimSiam's test for collapse (Chen & He, arXiv 2011.10566, section 4.1).
    """
    norm = np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    unit = np.divide(x, norm, out=np.zeros(x.shape), where=norm > 0)
    return float(unit.std(axis=0).mean() * math.sqrt(x.shape[1]))

"""Whether an attack behaves as every attack must: what scikit-learn's `check_estimator` does, for `lpla`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import roc_auc_score

from lpla.attacks.planted import answers, bright_rows, given, layout, null_error, pixels_of
from lpla.contracts.evidence import Attack, Labelled, NotFittedError, Query, Seen, Statistic
from lpla.contracts.inputs import UndefinedError, Views

IMAGES, SHADOWS, VIEWS = 600, 8, 4
LEAK = (0.6, 0.4, 1.0)
"""Amounts by which members are longer, steadier over the views, and moved (as in `planted.answers`)."""
UNUSABLE = 5
"""Images of every encoder with zero embeddings, and as many with non-finite ones."""


class CheckError(AssertionError):
    """An attack does not behave as it must; the message says what is wrong, in one sentence."""


@dataclass(frozen=True)
class _Setting:
    """What an attack is given of a target and its shadows, and the truth that it must find without being told."""

    target: Seen
    shadows: list[Labelled]
    member: Bool[np.ndarray, " N"]

    def copy(self) -> _Setting:
        return deepcopy(self)


def check_attack(attack: Any, *, queries: int = VIEWS) -> None:
    """Check that an attack finds a planted leak, finds none where there is none, and keeps to the rules of scoring.

    The attack is given embeddings that were made up, through its own statistics: 600 images, a target and 8 shadows.
    Copies of it are fitted, so that the attack itself stays as it is. It must

    - name its statistics, each with a name of its own;
    - refuse to score before it was fitted, by NotFittedError;
    - score every image with one finite number and learn a threshold from the shadows;
    - tell members by their planted length, steadiness and place, and tell nobody where nothing is planted;
    - not use the target's labels, not change its input, give the same bits again, and forget an earlier fit;
    - score images with zero or non-finite embeddings too.

    Args:
        attack: An attack as it is before `fit`.
        queries: Views of every image, up to 4. With a single view it may raise UndefinedError instead of scoring.

    Raises:
        CheckError: For the first of these that is not so, in one sentence.
        UndefinedError: If the attack needs a map of positions, which only an encoder has.
    """
    name = type(attack).__name__
    _check_statistics(attack, name, queries)
    try:
        leaking, silent = _setting(attack, 0, queries, leak=True), _setting(attack, 1, queries, leak=False)
        _check_unfitted(attack, leaking, name)
        fitted = _fit(attack, leaking, name)
        scores = _score(fitted, leaking, name)
    except UndefinedError as undefined:
        if queries > 1:
            raise CheckError(f"{name} is undefined with {queries} views of each image: {undefined}") from undefined
        return
    _check_leak(scores, leaking.member, name)
    _check_fitted(fitted, name)
    again = _fit(attack, silent, name)
    _check_silence(_score(again, silent, name), silent.member, name)
    _check_repeats(attack, again, leaking, scores, name)
    _check_labels(fitted, leaking, scores, name)
    spoilt = _setting(attack, 0, queries, leak=True, unusable=UNUSABLE)
    _score(_fit(attack, spoilt, name), spoilt, f"{name}, where some embeddings are zero or not finite,")


def _check_statistics(attack: Any, name: str, queries: int) -> None:
    _require(isinstance(attack, Attack), f"{name} must derive from lpla.Attack")
    found: Any = attack.statistics()
    kinds = isinstance(found, tuple) and all(isinstance(one, Statistic) for one in found)
    _require(kinds, f"{name}.statistics must return a tuple of statistics, got {found!r}")
    names = [one.name for one in found]
    _require(len(set(names)) == len(names), f"{name}.statistics must return one statistic of a name, got {names}")
    if any(one.query(Query(Views(), queries, 0), 32).positions for one in found):
        raise UndefinedError(f"{name} needs a map of positions, which made-up embeddings do not have")


def _check_unfitted(attack: Attack, setting: _Setting, name: str) -> None:
    fresh = deepcopy(attack)
    vars(fresh).pop("_learnt", None)  # It may have learnt from something else.
    try:
        fresh.score(setting.copy().target)
    except NotFittedError:
        return
    except Exception as other:  # whatever else it is, it does not say what is wrong
        raise CheckError(f"{name}.score must raise NotFittedError before fit, got {type(other).__name__}") from other
    raise CheckError(f"{name}.score must raise NotFittedError before fit, got scores")


def _setting(attack: Attack, seed: int, queries: int, *, leak: bool, unusable: int = 0) -> _Setting:
    """Every kind of leak at once; for an attack without queries, a leak of the pixels."""
    pixels, inside = pixels_of(seed, IMAGES), layout(seed, SHADOWS, IMAGES)
    if not attack.statistics():
        inside = bright_rows(seed + 10, SHADOWS + 1, pixels, strength=1.0 if leak else 0.0)
    length, steady, shift = LEAK if leak else (0.0, 0.0, 0.0)
    embedded = answers(seed + 50, inside, VIEWS, length, steady, shift)
    for one in embedded:
        one[:unusable] = 0
        one[unusable : 2 * unusable] = float("nan")
    target, shadows, member = given(attack, embedded, inside, pixels if attack.looks_at_pixels() else None)

    def cut(seen: Any) -> Any:
        return replace(seen, values={s.name: s.prefix(seen.values[s.name], queries) for s in attack.statistics()})

    return _Setting(cut(target), [cut(shadow) for shadow in shadows], member)


def _fit(attack: Attack, setting: _Setting, name: str) -> Attack:
    fresh = deepcopy(attack)
    return _unchanged(setting, f"{name}.fit", lambda own: _fitted(fresh, own, name))


def _fitted(attack: Attack, setting: _Setting, name: str) -> Attack:
    found: Any = attack.fit(setting.shadows)
    _require(found is attack, f"{name}.fit must return the attack itself, got {type(found).__name__}")
    return attack


def _score(attack: Attack, setting: _Setting, name: str) -> Float[np.ndarray, " N"]:
    scores: Any = _unchanged(setting, f"{type(attack).__name__}.score", lambda own: attack.score(own.target))
    shape = getattr(scores, "shape", None)
    _require(shape == (IMAGES,), f"{name} must score every image with one number, [{IMAGES}], got shape {shape}")
    unknown = int((~np.isfinite(scores)).sum())
    _require(not unknown, f"{name} must score every image with a finite number, got {unknown} that are not")
    return scores


def _unchanged(setting: _Setting, what: str, do: Callable[[_Setting], Any]) -> Any:
    own = setting.copy()
    found = do(own)
    pairs = zip(_arrays(own), _arrays(setting), strict=True)
    same = all(np.array_equal(one, other, equal_nan=one.dtype.kind == "f") for one, other in pairs)
    _require(same, f"{what} must leave the arrays that it is given as they are, but changed one")
    return found


def _arrays(setting: _Setting) -> Iterator[np.ndarray]:
    for seen in (setting.target, *setting.shadows):
        yield from (seen.index, *seen.values.values())
        yield from () if seen.pixels is None else (seen.pixels,)
    yield from (shadow.member for shadow in setting.shadows)


def _check_leak(scores: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], name: str) -> None:
    found, least = roc_auc_score(member, scores), 0.5 + 5 * null_error(member)
    _require(found > least, f"{name} must find a planted leak with an AUC above {least:.3f}, got {found:.3f}")


def _check_silence(scores: Float[np.ndarray, " N"], member: Bool[np.ndarray, " N"], name: str) -> None:
    found, most = roc_auc_score(member, scores), 3 * null_error(member)
    message = f"{name} must find no leak where none is planted, an AUC of 0.5 +- {most:.3f}, got {found:.3f}"
    _require(abs(found - 0.5) <= most, message)


def _check_fitted(attack: Attack, name: str) -> None:
    threshold: Any = getattr(attack, "threshold_", None)
    finite = isinstance(threshold, float | np.floating) and np.isfinite(threshold)
    _require(finite, f"{name}.fit must learn threshold_, a finite number, got {threshold!r}")
    known: Any = getattr(attack, "shadow_scores_", attack)
    _require(known is not attack, f"{name}.fit must set shadow_scores_, None where it has none, but did not")
    if known is None:
        return
    finite = known.score.shape == known.member.shape and np.isfinite(known.score).all()
    _require(finite, f"{name}.shadow_scores_ must be a finite score and a label for each image, but are not")
    told = roc_auc_score(known.member, known.score)
    _require(told > 0.5, f"{name}.shadow_scores_ must tell the shadows' members, got an AUC of {told:.3f}")
    called = known.score >= attack.threshold_
    apart = called[known.member].mean() > called[~known.member].mean()
    _require(apart, f"{name}.threshold_ must call more of the shadows' members than of the others members")


def _check_labels(attack: Attack, setting: _Setting, scores: Float[np.ndarray, " N"], name: str) -> None:
    threshold, target = attack.threshold_, setting.target
    for labels in (setting.member, ~setting.member):
        told = Labelled(target.index, target.values, labels, pixels=target.pixels)
        same = np.array_equal(attack.score(told), scores)
        _require(same, f"{name}.score must not use labels of the target, but scores change with them")
    _require(attack.threshold_ == threshold, f"{name}.score must leave threshold_ as the shadows made it")


def _check_repeats(attack: Attack, used: Attack, setting: _Setting, scores: np.ndarray, name: str) -> None:
    """Fitted anew after other shadows, `used` must be what a fresh attack is."""
    refitted = _score(_fitted(used, setting, name), setting, name)
    if np.array_equal(refitted, scores):
        return
    fresh = _score(_fit(attack, setting, name), setting, name)
    _require(np.array_equal(fresh, scores), f"{name} must give the same scores to the same input, but they differ")
    raise CheckError(f"{name}.fit must forget an earlier fit, but scores differ after one")


def _require(holds: bool | np.bool_, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)

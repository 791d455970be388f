"""What a reply of a service is checked for before it is kept, and how packed answers are read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from lpla.contracts.answers import Vector
from lpla.contracts.inputs import InputError

PACKED = ("binary", "ubinary")
"""Kinds of answers of which each number holds eight signs."""
TYPES = {"float": "<f4", "base64": "<f4", "int8": "i1", "uint8": "u1", "binary": "i1", "ubinary": "u1"}
"""Type of the numbers in a text in base64, by the kind of answers."""
CONVENTIONS = ("big", "little", "big, less 128", "little, less 128")
"""How eight signs make a number: the order of the bits, and for a signed number two's complement or 128 less."""
AGREE = 0.95
"""Part of the signs in which packed answers and floats must agree at least."""


def in_order(vectors: Sequence[Any], index: Sequence[Any] | None, asked: int) -> list[Any]:
    """The vectors in the order of the images; raises InputError unless there is one for each.

    Args:
        vectors: as they came.
        index: the place of each; None: they came in order.
        asked: number of images.

    Returns:
        A vector for each image.

    Raises:
        InputError: a vector is missing, or one place is named twice.
    """
    if len(vectors) != asked:
        raise InputError(f"the service must answer one vector for each image, got {len(vectors)} for {asked}")
    if index is None:
        return list(vectors)
    if sorted(map(str, index)) != sorted(map(str, range(asked))):
        raise InputError(f"the service must number its vectors from 0 to {asked - 1}, got {list(index)[:20]}")
    places = {int(place): vector for place, vector in zip(index, vectors, strict=True)}
    return [places[place] for place in range(asked)]


def as_vector(answer: Any, kind: str) -> Vector:
    """One answer as single-precision numbers, packed ones still packed; raises InputError for one that is no vector."""
    found = _of_text(answer, kind) if isinstance(answer, str) else _of_list(answer)
    if len(found) < (1 if kind in PACKED else 2):
        raise InputError(f"the service must answer vectors of two or more numbers, got one of {len(found)}")
    if kind not in ("float", "base64"):
        low, high = (0, 255) if TYPES[kind] == "u1" else (-128, 127)
        if not (
            np.isfinite(found).all() and (found == found.round()).all() and low <= found.min() <= found.max() <= high
        ):
            got = f"values from {found.min():g} to {found.max():g}"
            raise InputError(f"target.answers={kind} must be whole numbers from {low} to {high}, got {got}")
    return found


def _of_text(answer: str, kind: str) -> Vector:
    try:
        data = base64.b64decode(answer, validate=True)
        return np.frombuffer(data, dtype=TYPES[kind]).astype(np.float32)
    except (binascii.Error, ValueError):
        raise InputError(f"the service must answer vectors as lists or in base64 of {kind}, got a text") from None


def _of_list(answer: Any) -> Vector:
    if not isinstance(answer, list) or not answer or not all(isinstance(one, (int, float)) for one in answer):
        raise InputError(f"the service must answer vectors of numbers, got {_shape(answer)}")
    with np.errstate(over="ignore"):
        return np.asarray(answer, dtype=np.float64).astype(np.float32)


def unpacked(packed: Float32[np.ndarray, "N P"], kind: str, convention: str) -> Float32[np.ndarray, "N 8*P"]:
    """Signs, 1 and -1, of packed numbers by one of `CONVENTIONS`."""
    order, _, less = convention.partition(",")
    numbers = packed.astype(np.int64)
    if kind == "binary":
        numbers = numbers + 128 if less else numbers & 255
    bits = np.unpackbits(numbers.astype(np.uint8), axis=1, bitorder="big" if order == "big" else "little")
    return bits.astype(np.float32) * 2 - 1


def convention_of(packed: Float32[np.ndarray, "N P"], floats: Float32[np.ndarray, "N D"], kind: str) -> str:
    """The convention under which packed answers have the signs of the float answers to the same images.

    Raises InputError where none has them, or two have them alike.
    """
    if packed.shape[1] * 8 != floats.shape[1]:
        problem = f"{packed.shape[1]} numbers for {floats.shape[1]} floats"
        raise InputError(f"target.answers={kind} must be eight signs in a number, got {problem}")
    choices = [one for one in CONVENTIONS if kind == "binary" or "less" not in one]
    agreed = {one: float((unpacked(packed, kind, one) == np.sign(floats)).mean()) for one in choices}
    best, *others = sorted(choices, key=lambda one: -agreed[one])
    if agreed[best] < AGREE or agreed[others[0]] >= AGREE:
        shares = ", ".join(f"{name}: {share:.2f}" for name, share in agreed.items())
        raise InputError(
            f"target.answers={kind} cannot be read: its signs agree with those of floats so often: {shares}"
        )
    return best


def check_same(known: Mapping[str, Any], width: int, version: str | None) -> None:
    """Raise InputError where a service changed since it was first asked: it is another encoder.

    Args:
        known: the facts that are kept of it.
        width: of its answers now.
        version: what it says of its model now.
    """
    if known.get("width", width) != width:
        raise InputError(
            f"the service must answer vectors of one width, got {width} after {known['width']}: its model has changed; "
            "set target.version to another text to ask the new one from the beginning"
        )
    if known.get("reported", version) != version:
        raise InputError(
            f"the service must be one model from beginning to end, got {version} after {known['reported']}; set "
            "target.version to another text to ask the new one from the beginning"
        )


def _shape(answer: Any) -> str:
    if isinstance(answer, list):
        return f"a list of {type(answer[0]).__name__ if answer else 'nothing'}"
    return type(answer).__name__

"""Counter-based randomness: a uniform number is a pure function of (seed, stream, view, parameter), never of a state.

Source: splitmix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014 (finaliser 13).
"""

from __future__ import annotations

from jaxtyping import Float32, Int64
from torch import Tensor, arange, float32

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_BITS = 24
"""A float32 holds 24 bits exactly, so the conversion rounds nothing and never reaches 1."""


def uniforms(
    seed: int, stream: Int64[Tensor, " B"], view: Int64[Tensor, " B"] | int, count: int
) -> Float32[Tensor, "B {count}"]:
    """Draw uniform numbers for each image.

    The same four numbers give the same bits on every device, in every batch and in every order.

    Args:
        seed: Any integer, taken modulo 2^64.
        stream: Index of each image.
        view: Number of the view, of all images or of each.
        count: How many numbers each image gets.

    Returns:
        Numbers in [0, 1) on the device of `stream`.
    """
    start = _absorb(stream, _signed(_mix_int(seed + _GOLDEN)))
    state = _absorb(view, start)
    parameter = arange(count, device=stream.device)
    bits = _shift_right(_absorb(parameter, state[:, None]), 64 - _BITS)
    return bits.to(float32) * 2.0**-_BITS


def _absorb(value: Tensor | int, state: Tensor | int) -> Tensor:
    """The next state: for a given state one-to-one in the value, so that neighbours never collide."""
    return _mix((value ^ state) + _signed(_GOLDEN))  # pyright: ignore[reportArgumentType]  # one of the two is a tensor


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift_right(z, 30)) * _signed(_FIRST)
    z = (z ^ _shift_right(z, 27)) * _signed(_SECOND)
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's int64 shift is arithmetic, so the copies of the sign bit are masked away."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix_int(z: int) -> int:
    z %= 1 << 64
    z = (z ^ (z >> 30)) * _FIRST % (1 << 64)
    z = (z ^ (z >> 27)) * _SECOND % (1 << 64)
    return z ^ (z >> 31)


def _signed(z: int) -> int:
    """The int64 with the same bits as the uint64 `z`."""
    return z - (1 << 64) if z >= 1 << 63 else z

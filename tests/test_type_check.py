"""What checks lpla's annotations in tests: arguments, results, axes, dataclasses, and functions within functions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jaxtyping
import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError
from type_check import check, checked, read


def by_hook(decorated: Any) -> Any:
    """As the import hook decorates it."""
    return checked(decorated, typechecker=check)


@by_hook
def together(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"], as_text: bool = False) -> Float[np.ndarray, " N"]:
    return str(x + y) if as_text else (x + y)[: len(x) - int(x[0] > 5)]  # pyright: ignore[reportReturnType]


@by_hook
def first(count: int, x: Float[np.ndarray, " N"]) -> Float[np.ndarray, "{count}"]:
    return x[:2]


@by_hook
def several(*numbers: int) -> Iterator[int]:
    yield from numbers


@by_hook
@dataclass(frozen=True)
class Pair:
    name: str
    x: Float[np.ndarray, " N"]


def within(factor: float) -> Callable:
    @by_hook
    def scaled(x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]) -> float:
        """Of a closure."""
        return factor * float(x @ y) if factor else "none"  # pyright: ignore[reportReturnType]

    return scaled


def test_what_fits_is_computed() -> None:
    one = np.ones(3)
    assert together(one, one).tolist() == [2, 2, 2] and list(several(1, 2)) == [1, 2]
    assert first(2, one).tolist() == [1, 1] and Pair("a", one).name == "a"
    # Made twice, of which each keeps what it closes over, while what checks it is made once.
    before = len(read)
    assert [within(factor)(one, one) for factor in (2.0, 3.0)] == [6, 9] and len(read) == before + 1
    assert within(2.0).__doc__ == "Of a closure."


@pytest.mark.parametrize(
    "call",
    [
        lambda: together(np.ones(3), [1.0]),
        lambda: together(np.ones(3), np.ones(3, dtype=int)),
        lambda: together(np.ones(3), np.ones(2)),
        lambda: together(np.ones(3), np.ones(3), as_text=True),
        lambda: together(np.full(3, 6.0), np.ones(3)),
        lambda: first(1, np.ones(3)),
        lambda: several(1, "2"),
        lambda: Pair(3, np.ones(3)),  # pyright: ignore[reportArgumentType]
        lambda: Pair("a", np.ones((3, 3))),
        lambda: within(1.0)(np.ones(3), None),
        lambda: within(1.0)(np.ones(3), np.ones(2)),
        lambda: within(0.0)(np.ones(3), np.ones(3)),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(TypeCheckError):
        call()


@pytest.mark.wrong_types
def test_nothing_is_checked_where_a_test_says_so() -> None:
    assert jaxtyping.config.jaxtyping_disable
    assert within(0.0)(np.ones(3), np.ones(3)) == "none" and Pair(3, np.ones(3)).name == 3  # pyright: ignore

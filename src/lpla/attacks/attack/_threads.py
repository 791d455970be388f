"""Work on several items at once, whose results have the same bits however many threads there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _libraries() -> ThreadpoolController:
    """numpy's, looked for once, as that takes longer than many an item's work."""
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Have every matrix product done by one thread, in the whole process.

    Of the sizes here, several mostly wait for each other, and how many there are would change the rounding.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


def each(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Do the work on every item, on as many threads as torch has.

    Every item's work is done by one thread, and a matrix product in it by that thread alone, also where there is but
    one thread: how many there are, and what is done beside an item, changes no bit. So the items must not depend on
    the number of threads. numpy lets go of the interpreter's lock in whatever takes long.

    Args:
        work: of one item; it may write to what no other item's work reads or writes.
        items: in any number.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: the first item's that failed.
    """
    given = list(items)
    threads = min(torch.get_num_threads(), len(given))
    with one_thread():
        if threads < 2:
            return [work(item) for item in given]
        with ThreadPoolExecutor(threads) as pool:
            # Each with the caller's context, which holds numpy's way with overflows and divisions by zero.
            return list(pool.map(lambda context, item: context.run(work, item), [copy_context() for _ in given], given))


def pieces(total: int, size: int) -> Iterator[slice]:
    """Cut so many rows into slices of one size, but for the last."""
    for first in range(0, total, size):
        yield slice(first, min(first + size, total))

"""Train one encoder after another in the audit's own process, with all of its threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Serial(Executor):
    """What is submitted is done when `submit` returns; only what is no Exception (a signal's) passes through it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # the caller finds it in the future, as with every executor
            future.set_exception(error)
        return future

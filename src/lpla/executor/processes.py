"""Worker processes on this machine, each with its share of the cores or a GPU, on Pebble's pool.

The standard library's pool gives up all of its tasks when one worker dies, and has no time limit; Pebble's starts a new
worker and goes on.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock, Timeout
from pebble import ProcessPool

from lpla.contracts import InputError

_held: list[FileLock] = []
"""A worker's slot, for as long as it lives."""


class Processes(Executor):
    """`workers` processes (None: one per GPU, else one per 4 cores but at least 2).

    Each has `threads` (None: cores // workers), as workers that share cores slow each other down many times over.

    `gpus` lists one GPU per worker as CUDA_VISIBLE_DEVICES names them, None: every visible one. A unit is stopped after
    `minutes`, if given: TimeoutError.
    """

    def __init__(
        self, *, workers: int | None, threads: int | None, gpus: Sequence[int | str] | None, minutes: float | None
    ) -> None:
        if workers is not None and workers < 1:
            raise InputError(f"executor.workers must be an integer >= 1 or null, got {workers}")
        if threads is not None and threads < 1:
            raise InputError(f"executor.threads must be an integer >= 1 or null, got {threads}")
        if minutes is not None and minutes <= 0:
            raise InputError(f"executor.minutes must be a number > 0 or null, got {minutes}")
        slots = _visible() if gpus is None else list(map(str, gpus))
        cores = _cores()
        count = workers or len(slots) or max(2, cores // 4)
        self._seconds = None if minutes is None else 60 * minutes
        self._folder = TemporaryDirectory()
        # More workers than GPUs share them.
        slots = [slots[worker % len(slots)] for worker in range(count)] if slots else []
        # Spawned: a fork would copy the threads' locks of this process, and CUDA refuses it.
        self._pool = ProcessPool(
            count,
            initializer=_settle,
            initargs=(threads or max(1, cores // count), slots, self._folder.name),
            context=multiprocessing.get_context("spawn"),  # pyright: ignore[reportArgumentType]  # pipes, as Windows' stubs have them
        )

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it in a worker; a future that is cancelled ends the worker, if it is under way."""
        return self._pool.schedule(fn, args, kwargs, self._seconds)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, after what was submitted if `wait` and not `cancel_futures`."""
        if wait and not cancel_futures:
            self._pool.close()
        else:
            self._pool.stop()
        self._pool.join()
        self._folder.cleanup()


def _settle(threads: int, slots: list[str], folder: str) -> None:
    """In a new worker, before torch is there: its threads and its GPU."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if slots:
        os.environ["CUDA_VISIBLE_DEVICES"] = slots[_take(len(slots), folder)]


def _take(slots: int, folder: str) -> int:
    """A slot that no living worker has; the operating system frees that of a dead one."""
    while True:
        for slot in range(slots):
            lock = FileLock(f"{folder}/{slot}")
            try:
                lock.acquire(timeout=0.05)
            except Timeout:
                continue
            _held.append(lock)
            return slot


def _visible() -> list[str]:
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else list(map(str, range(count)))


def _cores() -> int:
    from joblib import cpu_count

    return cpu_count()

"""Train encoders side by side in worker processes of this machine, each with its share of the cores or a GPU.

The pool is Pebble's: when a worker dies it starts another and goes on, and it has a time limit. The standard library's
gives up all of its tasks then, and has none.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from pebble import ProcessPool
from threadpoolctl import threadpool_limits

from lpla.contracts.settings import Count, Positive, checked

log = logging.getLogger(__name__)

MOST = 3
"""Workers on one GPU."""
GAIN = 1.1
"""Growth of the workers' rate together for which one more is taken."""
FEWEST = 4
"""Encoders to train on each GPU below which it does not pay to find out how many fit side by side."""

Rehearsal = Callable[[Path, int], float]
"""A folder and how many workers meet there -> the rate at which one of them works beside the others."""

_held: list[FileLock] = []
"""A worker's slot, for as long as it lives."""


@checked
class Processes(Executor):
    """Makes units in worker processes of this machine.

    `workers` processes (None: `per_gpu` on each GPU; without GPUs one per 4 cores but at least 2).

    Each has `threads` (None: cores // workers), as workers that share cores slow each other down many times over.

    `gpus` are named as in CUDA_VISIBLE_DEVICES, None: every visible one. `per_gpu="auto"` is 1 until `adapt` finds that
    more are faster. A unit is stopped after `minutes`, if given: TimeoutError.
    """

    def __init__(
        self,
        *,
        workers: Count | None = None,
        threads: Count | None = None,
        gpus: Sequence[int | str] | None = None,
        per_gpu: Literal["auto"] | Count = "auto",
        minutes: Positive | None = None,
    ) -> None:
        self._gpus = _visible() if gpus is None else list(map(str, gpus))
        self._workers, self._threads, self._per_gpu = workers, threads, per_gpu
        self._seconds = None if minutes is None else 60 * minutes
        self._folder = TemporaryDirectory()
        self._pool: ProcessPool | None = None

    def adapt(self, rehearse: Rehearsal, encoders: int) -> None:
        """Choose between 1, 2 and 3 workers per GPU for so many `encoders`, by the rate at which they train together.

        It does nothing where the settings say how many, without a GPU, and for few encoders.
        """
        if self._per_gpu != "auto" or self._workers or encoders < FEWEST * max(1, len(self._gpus)) or not self._gpus:
            return
        pool = self._start(MOST, self._gpus[:1])
        try:
            self._per_gpu, rates = 1, [self._rate(pool, rehearse, 1)]
            for count in range(2, MOST + 1):
                rates.append(self._rate(pool, rehearse, count))
                if rates[-1] < GAIN * rates[-2]:
                    break
                self._per_gpu = count
        finally:
            pool.stop()
            pool.join()
        found = ", ".join(f"{count}: {rate:.1f} steps/s" for count, rate in enumerate(rates, 1))
        log.info("encoders side by side on a GPU, %s; taken: %d", found, self._per_gpu)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it in a worker; a future that is cancelled ends the worker, if it is under way."""
        if self._pool is None:
            on_gpus = len(self._gpus) * (1 if self._per_gpu == "auto" else int(self._per_gpu))
            self._pool = self._start(self._workers or on_gpus or max(2, _cores() // 4), self._gpus)
        return self._pool.schedule(fn, args, kwargs, self._seconds)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers, after what was submitted if `wait` and not `cancel_futures`."""
        if self._pool is not None:
            if wait and not cancel_futures:
                self._pool.close()
            else:
                self._pool.stop()
            self._pool.join()
        self._folder.cleanup()

    def _start(self, count: int, gpus: list[str]) -> ProcessPool:
        # More workers than GPUs share them.
        slots = [gpus[worker % len(gpus)] for worker in range(count)] if gpus else []
        return ProcessPool(
            count,
            initializer=_settle,
            initargs=(self._threads or max(1, _cores() // count), slots, self._folder.name),
            # Spawned: a fork would copy the threads' locks of this process, and CUDA refuses it.
            context=multiprocessing.get_context("spawn"),  # pyright: ignore[reportArgumentType]  # pipes, as Windows' stubs have them
        )

    def _rate(self, pool: ProcessPool, rehearse: Rehearsal, count: int) -> float:
        """Measure the rate of `count` workers together; 0 where some cannot go on beside the others."""
        with TemporaryDirectory() as folder:
            futures = [pool.schedule(rehearse, (Path(folder), count)) for _ in range(count)]
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = [error for f in futures if f.done() and (error := f.exception()) is not None]
            for future in futures:
                # Those that wait for one that has failed.
                future.cancel()
        if failed and count == 1:
            raise failed[0]
        if failed:
            log.info("%d encoders side by side: %s: %s", count, type(failed[0]).__name__, failed[0])
        return 0.0 if failed else sum(future.result() for future in futures)


def _settle(threads: int, slots: list[str], folder: str) -> None:
    """In a new worker: its threads (libraries have read their variables by now), and its GPU before CUDA is there."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)
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
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else list(map(str, range(count)))


def _cores() -> int:
    from joblib import cpu_count

    return cpu_count()

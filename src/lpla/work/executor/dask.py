"""Workers of a Dask cluster: one that is there (its scheduler's address), or a local one for this audit."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from distributed import Client, LocalCluster

from lpla.contracts.inputs import InputError


class Dask(Executor):
    """`address` of a scheduler, whose workers see the store's folder too; None starts `workers` of `threads` here."""

    def __init__(self, *, address: str | None, workers: int, threads: int) -> None:
        # Every connection is a line of its own.
        logging.getLogger("distributed").setLevel(logging.WARNING)
        self._cluster = None if address else _local(workers, threads)
        try:
            self._client = Client(self._cluster or address, set_as_default=False)
        except OSError as nobody:
            message = f"executor.address must be that of a Dask scheduler, but none answers at {address}"
            raise InputError(message) from nobody
        threads_of: Any = self._client.nthreads()
        crowded = {name: count for name, count in threads_of.items() if count > 1}
        if crowded:
            self._client.close()
            name, count = next(iter(crowded.items()))
            wanted = "one task at a time (dask worker --nthreads 1), as encoders draw from a process's random numbers"
            raise InputError(f"executor.address needs workers of {wanted}, but {name} takes {count}")
        self._executor = self._client.get_executor(pure=False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it in a worker; one that is cancelled while it is under way is done for nothing."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, after what was submitted if `wait` and not `cancel_futures`; end a local one."""
        self._executor.shutdown(wait and not cancel_futures)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _local(workers: int, threads: int) -> LocalCluster:
    before = dict(os.environ)
    try:
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # Dask would end a worker near its share of the memory, though the others need none
            dashboard_address=None,  # pyright: ignore[reportArgumentType]  # documented: none
            env={name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        )
    finally:
        # Dask leaves its workers' variables, one thread among them, to whatever this process starts later.
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)

"""Train encoders on the workers of a Dask cluster: a running one (its scheduler's address), or a local one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, ClassVar

from distributed import Client, LocalCluster, Security

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, checked

PARTS = ("cert", "key")


@checked
class Dask(Executor):
    """Makes units in the workers of a Dask cluster, which see the store's folder too."""

    elsewhere: ClassVar[bool] = True

    def __init__(
        self,
        *,
        address: str | None = None,
        workers: Count = 2,
        threads: Count = 1,
        tls_ca_file: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
    ) -> None:
        """Connect to a cluster, or start one.

        Args:
            address: That of a scheduler; None starts a cluster on this machine, which listens on loopback.
            workers: How many of them a cluster that is started here has.
            threads: Of each of these workers.
            tls_ca_file: Certificate of the authority that signed those of scheduler, workers and this client; with the
                two below all of them speak TLS and refuse whoever has no certificate. All three are PEM files.
            tls_cert: Certificate of this client, and of a cluster that is started here.
            tls_key: Its private key.

        Raises:
            InputError: No scheduler answers there, one without TLS does, or its workers take several tasks at once.
        """
        # Every connection is a line of its own.
        logging.getLogger("distributed").setLevel(logging.WARNING)
        security = _security({"tls_ca_file": tls_ca_file, "tls_cert": tls_cert, "tls_key": tls_key})
        if security and address and not address.startswith("tls://"):
            raise InputError(f"executor.address must begin with tls:// where executor.tls_* are given, got {address}")
        self._cluster = None if address else _local(workers, threads, security)
        try:
            self._client = Client(self._cluster or address, set_as_default=False, security=security)
        except (OSError, RuntimeError, TypeError) as nobody:
            message = f"executor.address must be that of a Dask scheduler, but none answers at {address}: {nobody}"
            raise InputError(message) from nobody
        self._refuse_crowds()
        self._executor = self._client.get_executor(pure=False)

    def _refuse_crowds(self) -> None:
        threads_of: Any = self._client.nthreads()
        crowded = {name: count for name, count in threads_of.items() if count > 1}
        if crowded:
            self._client.close()
            name, count = next(iter(crowded.items()))
            wanted = "one task at a time (dask worker --nthreads 1), as encoders draw from a process's random numbers"
            raise InputError(f"executor.address needs workers of {wanted}, but {name} takes {count}")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it in a worker; one that is cancelled while it is under way is done for nothing."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster, after what was submitted if `wait` and not `cancel_futures`; end a local one."""
        self._executor.shutdown(wait and not cancel_futures)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()


def _security(files: dict[str, str | None]) -> Security | None:
    """TLS in every connection, if its three files are given."""
    given = {name: file for name, file in files.items() if file is not None}
    if not given:
        return None
    for name in files:
        if name not in given or not Path(given[name]).is_file():
            needed = "a PEM file, as TLS needs executor.tls_ca_file, tls_cert and tls_key"
            raise InputError(f"executor.{name} must be {needed}, got {files[name]}")
    ours = {f"tls_{role}_{part}": given[f"tls_{part}"] for role in ("client", "scheduler", "worker") for part in PARTS}
    return Security(require_encryption=True, tls_ca_file=given["tls_ca_file"], **ours)


def _local(workers: int, threads: int, security: Security | None) -> LocalCluster:
    before = dict(os.environ)
    try:
        return LocalCluster(
            n_workers=workers,
            security=security,
            protocol="tls://" if security else None,
            threads_per_worker=1,
            silence_logs=logging.CRITICAL,  # what fails in a worker fails here, where it is told
            memory_limit=0,  # Dask would end a worker near its share of the memory, though the others need none
            dashboard_address=None,  # pyright: ignore[reportArgumentType]  # documented: none
            env={name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
        )
    finally:
        # Dask leaves its workers' variables, one thread among them, to whatever this process starts later.
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)

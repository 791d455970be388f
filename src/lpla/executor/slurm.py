"""Jobs of a Slurm cluster, one per unit, by submitit; where this runs, `sbatch` does too, and all share the folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from threading import Thread
from typing import Any

from submitit import AutoExecutor, Job

from lpla.contracts import InputError


class Slurm(Executor):
    """`cpus` and `gpus` of a node for `minutes` each; `folder` receives what the jobs write.

    `parameters` are further ones of sbatch, by their names (account, qos, ...).
    """

    def __init__(
        self,
        *,
        folder: str,
        cpus: int,
        gpus: int,
        minutes: int,
        partition: str | None,
        parameters: Mapping[str, Any],
        seconds_between_looks: float,
    ) -> None:
        try:
            self._executor = AutoExecutor(folder, cluster="slurm")
        except RuntimeError as missing:
            raise InputError(f"executor=slurm needs a host on which Slurm's commands are: {missing}") from missing
        self._executor.update_parameters(
            name="lpla",
            timeout_min=minutes,
            cpus_per_task=cpus,
            slurm_partition=partition,
            slurm_gres=f"gpu:{gpus}" if gpus else None,
            slurm_setup=[f"export OMP_NUM_THREADS={cpus}"],
            slurm_additional_parameters=dict(parameters),
        )
        self._pause = seconds_between_looks
        self._followers: list[Thread] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call it in a job; a future that is cancelled cancels its job, under way or not."""
        future: Future[Any] = Future()
        job = self._executor.submit(_outcome, fn, *args, **kwargs)
        follower = Thread(target=self._follow, args=(job, future), daemon=True)
        follower.start()
        self._followers.append(follower)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted, if `wait`."""
        if wait:
            for follower in self._followers:
                follower.join()

    def _follow(self, job: Job[Any], future: Future[Any]) -> None:
        """What submitit's Job lacks of a Future: who waits is told."""
        while not job.done():
            if future.cancelled():
                job.cancel(check=False)
                return
            time.sleep(self._pause)
        if not future.set_running_or_notify_cancel():
            return
        try:
            result, error = job.result()
        except Exception as lost:  # noqa: BLE001  # killed, out of time: the caller finds it in the future
            result, error = None, lost
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _outcome(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Exception | None]:
    """Result and error, as submitit returns errors as the text of their stack."""
    try:
        return fn(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001  # raised where the job was submitted
        return None, error

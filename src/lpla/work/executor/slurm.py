"""Train each encoder in a Slurm job of its own; `sbatch` must be on this machine; all machines share the folders."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from threading import Thread
from types import MappingProxyType
from typing import Any, ClassVar

from submitit import AutoExecutor, Job
from submitit.core.utils import UncompletedJobError

from lpla.contracts.inputs import InputError
from lpla.contracts.settings import Count, Positive, Whole, checked

LOOKS = 30
"""At its folder between two at the queue; a job that is twice absent there, without a result, is lost."""


@checked
class Slurm(Executor):
    """Makes each unit in a Slurm job of its own.

    `cpus` and `gpus` of a node for `minutes` each; `folder` receives what the jobs write.

    `parameters` are further ones of sbatch, by their names (account, qos, ...).
    """

    elsewhere: ClassVar[bool] = True

    def __init__(
        self,
        *,
        folder: str = "slurm/%j",
        cpus: Count = 4,
        gpus: Whole = 0,
        minutes: Count = 240,
        partition: str | None = None,
        parameters: Mapping[str, Any] = MappingProxyType({}),
        seconds_between_looks: Positive = 1.0,
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
            # submitit has a job told 90 s before its end; one that is not yet listening then dies of it.
            slurm_signal_delay_s=min(90, 15 * minutes),
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
        """Wait for the submitted jobs, if `wait`."""
        if wait:
            for follower in self._followers:
                follower.join()

    def _follow(self, job: Job[Any], future: Future[Any]) -> None:
        """What submitit's Job lacks of a Future: who waits is told."""
        looks = absent = 0
        while not job.done():
            if future.cancelled():
                job.cancel(check=False)
                return
            time.sleep(self._pause)
            looks += 1
            if looks % LOOKS == 0:
                absent = 0 if _is_queued(job) else absent + 1
            if absent == 2:
                if future.set_running_or_notify_cancel():
                    lost = f"Slurm's job {job.job_id} left no result, killed or out of time: {job.paths.stderr}"
                    future.set_exception(UncompletedJobError(lost))
                return
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


def _is_queued(job: Job[Any]) -> bool:
    """Whether it waits or runs, as far as known; submitit asks Slurm's accounting, which not every cluster keeps."""
    command = ["squeue", "--noheader", "--jobs", job.job_id]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(told.stdout.strip()) or (told.returncode != 0 and "Invalid job id" not in told.stderr)


def _outcome(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, Exception | None]:
    """Result and error, as submitit returns errors as the text of their stack."""
    try:
        return fn(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001  # raised where the job was submitted
        return None, error

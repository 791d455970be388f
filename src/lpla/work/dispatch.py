"""Units to an executor: finished ones stay, a failed one is tried once more, and in the end what failed is raised."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from hydra.utils import get_class

from lpla.contracts.inputs import InputError
from lpla.extraction.view_cache import ViewCache
from lpla.store.artifacts import Store
from lpla.training import signals
from lpla.work.plug_in import Config
from lpla.work.progress import Progress
from lpla.work.recipe import Unit
from lpla.work.unit import UnitReport, make, to_train

log = logging.getLogger(__name__)

LOOK_SECONDS = 1
"""Seconds between two checks whether a signal came."""

Done = Callable[[Unit, UnitReport], None]


@runtime_checkable
class Adaptive(Protocol):
    """An executor that can find out how many encoders to train at once."""

    def adapt(self, rehearse: Callable[[Path, int], float], encoders: int) -> None:
        """`encoders` are to be trained; `rehearse` trains one for a moment beside others, and returns its rate."""
        ...


def make_all(
    units: Sequence[Unit], store: Store, executor: Executor, progress: Progress, views: ViewCache, done: Done
) -> None:
    """Make every unit.

    After an InputError, which the other units would most likely meet too, no unit is begun; any other failure may be
    the machine's and is given another try.

    Args:
        units: The encoders and what is asked of each.
        store: Where they are kept.
        executor: Where they are made; it is shut down afterwards.
        progress: Shows what has been done.
        views: Views that are kept for the next encoder.
        done: Is called for each, from whichever thread.

    Raises:
        Exception: What the first of the failed units raised, when the others have ended.
    """
    with executor:
        if isinstance(executor, Adaptive):
            _adapt(executor, units, store)
        for again in ("tried once more", "given up"):
            failed = _attempt(units, store, executor, progress, views, done)
            for _, error in failed:
                if isinstance(error, InputError):
                    raise error
            for unit, error in failed:
                log.warning("%s failed and is %s: %s: %s", unit.name, again, type(error).__name__, error)
            units = [unit for unit, _ in failed]
        for _, error in failed:
            raise error


def work(unit: Unit, store: Store, progress: Progress, views: ViewCache) -> UnitReport:
    """Make a unit wherever an executor runs it, as `unit.make` does.

    Args:
        unit: The encoder.
        store: Where it is kept.
        progress: Shows what has been done; a copy elsewhere starts empty.
        views: Views that are kept; likewise.

    Returns:
        What was made.
    """
    quieten_lightning()
    return make(unit, store, progress, views)


def trains_here(executor: Config) -> bool:
    """Return whether this process may train in place of an executor's workers; one with others says `elsewhere`."""
    return not getattr(get_class(executor["_target_"]), "elsewhere", False)


def has_our_devices(executor: Config) -> bool:
    """Return whether an executor's workers have this machine's devices, be they of a cluster that is started on it."""
    return trains_here(executor) or ("address" in executor and executor["address"] is None)


def quieten_lightning() -> None:
    """Silence Lightning, which prints devices, tips and Slurm once per encoder, and uses a deprecated name of torch."""
    # Importing Lightning, perhaps later, sets the first one's level anew; the second one says nearly all.
    for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message="The `srun` command is available")
    warnings.filterwarnings("ignore", message="GPU available but not used")  # On a Mac, and where trainer=cpu says so.


def _adapt(executor: Adaptive, units: Sequence[Unit], store: Store) -> None:
    """What ranks make together has the devices to itself."""
    if training := [one for one in to_train(units, store) if not one.distributed]:
        from lpla.work.rehearsal import training_rate

        executor.adapt(partial(training_rate, training[0]), len(training))


def _attempt(
    units: Sequence[Unit], store: Store, executor: Executor, progress: Progress, views: ViewCache, done: Done
) -> list[tuple[Unit, BaseException]]:
    """Which units failed, and by what; those that were not begun are not among them."""
    futures: dict[Future[UnitReport], Unit] = {}

    def tell(future: Future[UnitReport]) -> None:
        if not future.cancelled() and future.exception() is None:
            done(futures[future], future.result())

    try:
        for unit in units:
            future = executor.submit(work, unit, store, progress, views)
            futures[future] = unit
            future.add_done_callback(tell)
            if future.done() and isinstance(_error(future), InputError):
                break
        for future in _ended(futures):
            if isinstance(_error(future), InputError):
                _cancel(other for other in futures if not other.running())
                break
        for _ in _ended(future for future in futures if not future.cancelled()):
            pass
    except BaseException:
        _cancel(futures)
        # Otherwise a pool first replaces the workers that it has lost by this.
        executor.shutdown(cancel_futures=True)
        raise
    return [(unit, error) for future, unit in futures.items() if (error := _error(future)) is not None]


def _ended(futures: Iterable[Future[UnitReport]]) -> Iterator[Future[UnitReport]]:
    """Each as it ends; a signal that asks to stop is heeded meanwhile."""
    pending = set(futures)
    while pending:
        signals.check()
        ended, pending = wait(pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        yield from ended


def _cancel(futures: Iterable[Future[UnitReport]]) -> None:
    for future in futures:
        future.cancel()


def _error(future: Future[UnitReport]) -> BaseException | None:
    return None if future.cancelled() else future.exception()

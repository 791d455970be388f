"""Ranks: several processes that make one unit together, under torchrun's elastic launcher.

The audit's own process joins no process group, and nothing replays its command line (Lightning's launcher would start a
sweep once more in every child, Lightning issue 11300): each rank runs `python -m lpla.work.unit RECIPE STORE`. With
several hosts, `python -m lpla.work.launcher STORE` on each of the others joins in, unit after unit.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous.api import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.multiprocessing import _prctl_pr_set_pdeathsig  # pyright: ignore[reportAttributeAccessIssue]

from lpla.contracts.inputs import InputError, UndefinedError
from lpla.encoders import ranks
from lpla.work.rank_events import Begin, Events, followed
from lpla.work.recipe import Unit, trainer_factory

log = logging.getLogger(__name__)

JOIN_SECONDS = 600
"""How long a host waits for the others."""
THEIRS = {kind.__name__: kind for kind in (InputError, UndefinedError)}
"""Errors that are the user's to mend, by name."""
STOP_SECONDS = 5
"""How long a rank may take to end when it is told to; one that waits for a rank that has gone would wait for ever."""

for name in ("multiprocessing.api", "agent.server.api"):
    # What ended is said by the audit, in one sentence.
    logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Launch:
    """One unit for ranks: the folder of its recipe below the store's `unfinished`, how many, and where they meet."""

    folder: str
    devices: int
    nodes: int
    endpoint: str

    def run(self, store: Path, first: bool) -> None:
        """Start this host's ranks and wait for those of all; `first` is the host to which the others come.

        Raises what a rank raised if it is the user's to mend, otherwise RuntimeError naming the rank.
        """
        folder = store / "unfinished" / self.folder
        config = LaunchConfig(
            min_nodes=self.nodes,
            max_nodes=self.nodes,
            nproc_per_node=self.devices,
            run_id=self.folder,
            rdzv_backend="c10d",
            rdzv_endpoint=self.endpoint,
            rdzv_configs={"is_host": first, "join_timeout": JOIN_SECONDS},
            max_restarts=0,
            shutdown_timeout=STOP_SECONDS,
            local_addr="localhost" if self.nodes == 1 else None,
            logs_specs=DefaultLogsSpecs(log_dir=str(folder), redirects=Std.ALL),
        )
        command = ("-m", "lpla.work.unit", folder / "recipe.json", store)
        options = ("--events", folder / "events", "--launcher", os.getpid())
        try:
            with _signals_kept():
                elastic_launch(config, sys.executable)(*command, *options)
        except ChildFailedError as failed:
            raise self._error(failed, folder) from None
        except RendezvousError as alone:
            wanted = f"`python -m lpla.work.launcher {store}` on every other host, within {JOIN_SECONDS} s"
            raise InputError(f"trainer.num_nodes={self.nodes} needs {wanted}, but: {alone}") from alone

    def _error(self, failed: ChildFailedError, folder: Path) -> Exception:
        for one in failed.failures.values():
            kind, _, sentence = _message(one).partition(": ")
            if kind in THEIRS:
                return THEIRS[kind](sentence)
        rank, failure = failed.get_first_failure()
        for written in folder.rglob(f"{failure.local_rank}/stderr.log"):
            log.debug("standard error of rank %d:\n%s", rank, written.read_text())
        how = f"exit code {failure.exitcode}" if failure.exitcode >= 0 else failure.signal_name()
        return RuntimeError(f"rank {rank} of {self.devices * self.nodes} ended ({how}): {_message(failure)}")


def launch(unit: Unit, store: Path, folder: Path, begin: Begin) -> dict[str, Any]:
    """Have ranks make `unit`, whose lock the caller holds; `folder` is one of the store's for what is unfinished.

    Returns what rank 0 said in the end; raises as `Launch.run`.
    """
    runner = trainer_factory(unit)()
    unit.regime.check_shares(runner.num_devices * runner.num_nodes)
    several = runner.num_nodes > 1
    endpoint = f"{socket.gethostname()}:{_free_port()}" if several else "localhost:0"
    start = Launch(folder.name, runner.num_devices, runner.num_nodes, endpoint)
    unit.save(folder / "recipe.json")
    if several:
        (folder / "draft").write_text(json.dumps(asdict(start)))
        (folder / "draft").rename(folder / "offer.json")
    log.info("%s: %d ranks, batch statistics over all of them", unit.name, runner.num_devices * runner.num_nodes)
    with followed(folder / "events", begin) as said:
        start.run(store, first=True)
    return said


@contextmanager
def joining(unit: Unit, events: Path, launcher: int) -> Iterator[Events]:
    """Within, this process is a rank, with its share of the host's threads; rank 0 reports to `events`.

    It does not outlive the process `launcher`, however that ends.
    """
    _prctl_pr_set_pdeathsig(signal.SIGKILL)
    if os.getppid() != launcher:
        sys.exit("the process that launched this rank has ended")
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["LOCAL_WORLD_SIZE"])))
    trainer_factory(unit)().strategy.setup_environment()
    with Events(events if ranks.number() == 0 else Path(os.devnull)) as reports:
        yield reports


def _message(failure: ProcessFailure) -> str:
    """What a process said last: with its stack, if it could still say it."""
    said: Any = failure.message
    return said["message"] if isinstance(said, dict) else said


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handlers that the launcher replaces; what stopped the ranks then stops this process in its way."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    mine = threading.current_thread() is threading.main_thread()
    handlers = {s: signal.getsignal(s) for s in signals} if mine else {}
    stopped: signal.Signals | None = None
    try:
        yield
    except SignalException as stop:
        stopped = stop.sigval
    finally:
        for s, handler in handlers.items():
            signal.signal(s, handler)
    if stopped is not None:
        signal.raise_signal(stopped)
        raise KeyboardInterrupt


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def main() -> None:
    """Command line of the other hosts: join every unit that an audit with trainer.num_nodes > 1 makes in a store."""
    parser = argparse.ArgumentParser(prog="python -m lpla.work.launcher", description=main.__doc__)
    parser.add_argument("store", type=Path, help="the store's folder, which the audit's host can write too")
    store = parser.parse_args().store.absolute()
    joined: set[Path] = set()
    print(f"waiting for units in {store}; Ctrl-C ends it", flush=True)
    while True:
        for offer in sorted(set(store.glob("unfinished/*/offer.json")) - joined):
            joined.add(offer)
            try:
                Launch(**json.loads(offer.read_text())).run(store, first=False)
                print(f"{offer.parent.name}: done", flush=True)
            except (InputError, RuntimeError, OSError) as failed:
                print(f"{offer.parent.name}: {failed}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()

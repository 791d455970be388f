"""Ranks: several processes that make one unit together, started by `python -m torch.distributed.run` as a child.

The audit's own process joins no process group, and nothing replays its command line (Lightning's launcher would start a
sweep once more in every child, Lightning issue 11300): each rank runs `python -m lpla.work.unit RECIPE STORE`. With
several hosts, `python -m lpla.work.launcher STORE` on each of the others joins in, unit after unit.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import psutil
import torch

from lpla.contracts.inputs import InputError, UndefinedError
from lpla.training import signals
from lpla.work.recipe import Unit

log = logging.getLogger(__name__)

JOIN_SECONDS = 600
"""How long the audit's host waits for the others."""
LOOK_SECONDS = 0.1
"""Seconds between two checks whether the ranks have ended or a signal has come."""
THEIRS = {kind.__name__: kind for kind in (InputError, UndefinedError)}
"""Errors that are the user's to mend, by name."""
MARK = "lpla: "
"""What the lines begin with that rank 0 prints for this process."""
FAILURE = re.compile(r"time +: (\S+)\n.*\n +rank +: (\d+).*\n +exitcode +: (-?\d+).*\n +error_file: (.*)\n")
"""A failed rank in what torch.distributed.run prints at its end: when, which, how, and where its error is."""

Advance = Callable[[int], None]
Begin = Callable[[str, int], Advance]
"""Announces a task of so many steps; returns the function that advances it."""


@dataclass(frozen=True)
class Launch:
    """How the ranks of a unit meet: so many `devices` on each of `nodes` hosts, of which the first is at `address`."""

    devices: int
    nodes: int
    address: str
    port: int

    def run(self, folder: Path, store: Path, node: int, begin: Begin) -> dict[str, Any]:
        """Start the ranks of one host and wait for those of all hosts; a signal that asks to stop ends them.

        Args:
            folder: One of the store's for what is unfinished, with `recipe.json`; the ranks leave their errors there.
            store: The store's folder.
            node: Which of the hosts this is; 0 is the audit's own.
            begin: Told of the progress of rank 0, which is on host 0.

        Returns:
            The report of rank 0 (nothing on another host).

        Raises:
            InputError: A rank raised it, with the same sentence.
            RuntimeError: A rank ended otherwise; it is named.
        """
        made: dict[str, Any] = {}
        printed = folder / f"torchrun-{node}.log"
        with printed.open("w") as errors, self._start(folder, store, node, errors) as child:
            assert child.stdin and child.stdout
            reader = threading.Thread(target=repeat, args=(child.stdout, begin, made), daemon=True)
            reader.start()
            try:
                while child.poll() is None:
                    signals.check()
                    time.sleep(LOOK_SECONDS)
            finally:
                child.stdin.close()  # A rank ends when its standard input does.
                child.terminate()
                reader.join()
        if child.returncode:
            raise self._error(folder, printed.read_text())
        return made

    def _start(self, folder: Path, store: Path, node: int, errors: TextIO) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "torch.distributed.run", *self._options(folder, node), "-m", "lpla.work.unit"]
        return subprocess.Popen(
            [*command, str(folder / "recipe.json"), str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | self._environment(),
            start_new_session=True,  # Ctrl-C at a terminal reaches this process alone.
        )

    def _options(self, folder: Path, node: int) -> list[str]:
        options = [f"--nnodes={self.nodes}", f"--nproc-per-node={self.devices}", f"--log-dir={folder}"]
        if self.nodes > 1:
            return [*options, f"--node-rank={node}", f"--master-addr={self.address}", f"--master-port={self.port}"]
        # They meet in a file: every store that torch opens at a port listens on all interfaces.
        meet = ["--rdzv-backend=c10d", "--rdzv-conf=store_type=file", f"--rdzv-endpoint={folder / 'meet'}"]
        return [*options, *meet, f"--rdzv-id={folder.name}", "--local-addr=localhost"]

    def _environment(self) -> dict[str, str]:
        threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // self.devices))}
        if self.nodes > 1:
            return threads
        sockets = dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), _loopback())
        return threads | sockets | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}

    def _error(self, folder: Path, printed: str) -> Exception:
        for file in folder.rglob("error.json"):
            kind, _, sentence = _message(file).partition(": ")
            if kind in THEIRS:
                return THEIRS[kind](sentence)
        log.debug("standard error of the ranks:\n%s", printed)
        failed = [(datetime.fromisoformat(t), int(r), int(c), Path(f)) for t, r, c, f in FAILURE.findall(printed)]
        if not failed:
            return RuntimeError(f"torch.distributed.run ended without a word of its ranks: {printed.strip()[-500:]}")
        # Times are whole seconds, and a rank that has lost another one fails at once. Of those that failed first the
        # cause is one that a signal killed, then one with an error; the launcher itself ends the others by SIGTERM.
        soon = min(failed)[0] + timedelta(seconds=2)
        _, rank, code, file = min(failed, key=lambda one: (one[0] > soon, one[2] == -signal.SIGTERM, one[2] > 0))
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = _message(file)
        return RuntimeError(f"rank {rank} of {self.devices * self.nodes} ended ({how}){said and f': {said}'}")


def launch(unit: Unit, store: Path, folder: Path, begin: Begin) -> dict[str, Any]:
    """Have ranks make `unit`, whose lock the caller holds; arguments, result and errors as of `Launch.run`."""
    runner = unit.source.trainer_factory()()
    count = runner.num_devices * runner.num_nodes
    unit.source.check_shares(count)
    start = Launch(runner.num_devices, runner.num_nodes, socket.gethostname(), _free_port())
    unit.save(folder / "recipe.json")
    if start.nodes > 1:
        (folder / "draft").write_text(json.dumps(asdict(start)))
        (folder / "draft").rename(folder / "offer.json")
        _wait_for_hosts(folder, store, start.nodes)
    log.info("%s: %d ranks, batch statistics over all of them", unit.name, count)
    return start.run(folder, store, 0, begin)


def _wait_for_hosts(folder: Path, store: Path, nodes: int) -> None:
    end = time.monotonic() + JOIN_SECONDS
    wanted = f"`python -m lpla.work.launcher {store}` on every other host, within {JOIN_SECONDS} s"
    log.info(
        "trainer.num_nodes=%d: waiting for %d more host%s; this needs %s", nodes, nodes - 1, "s" * (nodes > 2), wanted
    )
    while (came := len(list(folder.glob("host-*")))) < nodes - 1:
        signals.check()
        if time.monotonic() > end:
            raise InputError(f"trainer.num_nodes={nodes} needs {wanted}, but {came} of {nodes - 1} came")
        time.sleep(LOOK_SECONDS)


def repeat(lines: Iterable[str], begin: Begin, made: dict[str, Any]) -> None:
    """Repeat here what rank 0 reports; what it made is put into `made`."""
    tasks: dict[int, Advance] = {}
    for line in lines:
        if not line.startswith(MARK):
            log.debug("standard output of a rank: %s", line.rstrip())
            continue
        event = json.loads(line.removeprefix(MARK))
        if "made" in event:
            made.update(event["made"])
        elif "message" in event:
            logging.getLogger(event["logger"]).log(event["level"], "%s", event["message"])
        elif "total" in event:
            tasks[event["number"]] = begin(event["task"], event["total"])
        else:
            tasks[event["number"]](event["steps"])


def _message(error_file: Path) -> str:
    """What a rank raised, the error's kind and its sentence; "" where it was ended before it had written all of it."""
    try:
        return json.loads(error_file.read_text())["message"]["message"]
    except (FileNotFoundError, json.JSONDecodeError):
        return ""


def _loopback() -> str:
    """Name of the interface that no other machine reaches (lo, lo0)."""
    interfaces = psutil.net_if_addrs().items()
    return next(name for name, addresses in interfaces if any(one.address == "127.0.0.1" for one in addresses))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def _join(offer: Path, store: Path) -> bool:
    """Take part in one unit, unless enough hosts do; returns whether this host did."""
    start = Launch(**json.loads(offer.read_text()))
    for node in range(1, start.nodes):
        try:
            (offer.parent / f"host-{node}").touch(exist_ok=False)
        except FileExistsError:
            continue
        start.run(offer.parent, store, node, lambda task, total: lambda steps: None)
        return True
    return False


def main() -> None:
    """Command line of the other hosts: join every unit that an audit with trainer.num_nodes > 1 makes in a store."""
    parser = argparse.ArgumentParser(prog="python -m lpla.work.launcher", description=main.__doc__)
    parser.add_argument("store", type=Path, help="the store's folder, which the audit's host can write too")
    store = parser.parse_args().store.absolute()
    seen: set[Path] = set()
    print(f"waiting for units in {store}; Ctrl-C ends it", flush=True)
    while True:
        for offer in sorted(set(store.glob("unfinished/*/offer.json")) - seen):
            seen.add(offer)
            try:
                if _join(offer, store):
                    print(f"{offer.parent.name}: done", flush=True)
            except (ValueError, TypeError, RuntimeError, OSError) as failed:
                print(f"{offer.parent.name}: {failed}", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()

"""kill -9 of an audit and of its service: no answer is lost, what was under way alone is asked for twice.

The budget holds, and what the server has counted stands beside what the client has.
"""

import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from server_process import Server, target
from test_service_audit import audit, of_service
from tiny_audit import scores_of

from lpla.contracts.inputs import InputError

pytestmark = pytest.mark.slow

PARALLEL, BATCH = 3, 2
UNDER_WAY = PARALLEL * BATCH
TOLD = [f"target.parallel={PARALLEL}", f"target.batch={BATCH}", "observe.queries=2", "queries=2", "utility.images=20"]
KILLS_OF_AUDIT, KILLS_OF_SERVER = 10, 5


def wait_for(server: Server, path: str, requests: int, alive: Callable[[], bool]) -> None:
    """Wait until the server has had so many requests at a path."""
    while alive() and len(server.requests(path)) < requests:
        time.sleep(0.005)


def killed(run: Callable[[], object], at: Callable[[Callable[[], bool]], None]) -> bool:
    """Do it in a process of its own, and kill that process when `at` returns; whether it had not ended before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, where a process with threads forks
        child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(0)
    status: list[int] = []

    def alive() -> bool:
        if not status and (ended := os.waitpid(child, os.WNOHANG))[0]:
            status.append(ended[1])
        return not status

    at(alive)
    if alive():
        os.kill(child, signal.SIGKILL)
        status.append(os.waitpid(child, 0)[1])
    return os.WIFSIGNALED(status[0])


def answered(server: Server, path: str) -> tuple[list[str], set[str]]:
    found = server.queries(path)
    return found, set(found)


def test_an_audit_that_is_killed_ten_times_ends_as_if_it_had_not_been(server: Server, tmp_path: Path) -> None:
    draw, path, store = random.Random(0), "slow/v1/embeddings", tmp_path / "store"
    told = of_service(server, path, *TOLD)
    made = target(store, url=server.url(path), model="net", batch=BATCH)
    kills, total, moments = 0, 230, 0
    for number in range(KILLS_OF_AUDIT):
        moments = len(server.requests(path)) + draw.randint(1, 9)
        before = len(made.kept.digests()) if made.kept else 0
        pause = draw.uniform(0, 0.05)

        def at(alive: Callable[[], bool], moment: int = moments, pause: float = pause) -> None:
            wait_for(server, path, moment, alive)
            time.sleep(pause)

        kills += killed(lambda: audit(store, *told, f"target.max_queries={total}", "target.ask_above=999"), at)
        assert made.kept is not None and len(made.kept.digests()) >= before, f"kill {number} lost answers"
    assert kills == KILLS_OF_AUDIT
    audit(store, *told, f"target.max_queries={total}", folder=tmp_path)
    found, different = answered(server, path)
    assert made.kept is not None
    counts = made.kept.counts()
    assert len(made.kept.digests()) == len(different) == counts.answers - 20
    assert len(found) <= len(different) + 20 + KILLS_OF_AUDIT * UNDER_WAY
    assert len(found) <= counts.queries <= len(found) + KILLS_OF_AUDIT * UNDER_WAY and counts.queries <= total
    print(f"server: {len(found)} queries answered of {len(different)} images; client: {counts}")
    (tmp_path / "whole").mkdir()
    audit(tmp_path / "whole", *of_service(server, "none/v1/embeddings", *TOLD), folder=tmp_path / "whole")
    np.testing.assert_array_equal(scores_of(tmp_path)["score"], scores_of(tmp_path / "whole")["score"])


def test_a_service_that_is_killed_five_times_loses_no_answer(server: Server, tmp_path: Path) -> None:
    draw, path, store = random.Random(1), "slow/killed/v1/embeddings", tmp_path / "store"
    ended, kills = threading.Event(), 0

    def kill() -> None:
        nonlocal kills
        for _ in range(KILLS_OF_SERVER):
            moment = len(server.requests(path)) + draw.randint(2, 12)
            wait_for(server, path, moment, lambda: not ended.is_set())
            if ended.is_set():
                return
            server.kill()
            kills += 1
            server.start()

    killer = threading.Thread(target=kill)
    killer.start()
    told = of_service(server, path, *TOLD, "target.max_queries=400")
    for _ in range(KILLS_OF_SERVER + 1):
        try:
            audit(store, *told, folder=tmp_path)
            break
        except InputError as stopped:  # Where the server takes long to start, the circuit opens first.
            assert "times in a row" in str(stopped) and "the same command goes on from there" in str(stopped)
    ended.set()
    killer.join()
    assert kills == KILLS_OF_SERVER
    found, different = answered(server, path)
    made = target(store, url=server.url(path), model="net", batch=BATCH)
    assert made.kept is not None
    counts = made.kept.counts()
    print(f"server: {len(found)} queries of {len(different)} images; client: {counts}")
    assert len(made.kept.digests()) == len(different) == counts.answers - 20
    assert len(found) <= len(different) + 20 + KILLS_OF_SERVER * UNDER_WAY
    assert len(found) <= counts.queries <= 400

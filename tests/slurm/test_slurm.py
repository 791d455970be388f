"""A real Slurm of one node: the result of one process, by four jobs at once. `make test-slurm` starts it.

One thread each, here as there: bits depend on it.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import in_worker
import numpy as np
import pytest
from submitit.core.utils import UncompletedJobError
from tiny_audit import TINY, Ran, scores_of

from lpla.contracts.inputs import InputError
from lpla.work.executor.slurm import Slurm

Cli = Callable[..., Ran]

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif("lpla-slurm" not in os.environ.get("SLURM_CONF", ""), reason="make test-slurm"),
]


def rows(ran: Ran) -> list[dict]:
    return [row | {"seconds": 0} for row in json.loads((ran.folder / "result.json").read_text())]


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    with Slurm(
        folder=str(tmp_path / "jobs"),
        cpus=1,
        gpus=0,
        minutes=2,
        partition=None,
        parameters={"comment": "a test"},
        seconds_between_looks=0.1,
    ) as executor:
        yield executor


def test_an_audit_by_jobs_gives_the_result_of_one_process(cli: Cli, tmp_path: Path) -> None:
    serial = cli(*TINY, "store=serial")
    ran = cli(*TINY, "executor=slurm", "executor.cpus=1")
    assert serial.code == ran.code == 0, ran.out
    assert ran.out.count("trained and observed") == 6 and rows(ran) == rows(serial)
    scores = [scores_of(one.folder) for one in (serial, ran)]
    assert all(np.array_equal(*(s[name] for s in scores)) for name in scores[0])
    assert len(list((tmp_path / "slurm").rglob("*_result.pkl"))) == 6


def test_four_jobs_run_at_once_with_the_threads_of_their_cores(slurm: Slurm, tmp_path: Path) -> None:
    place = tmp_path / "meeting"
    place.mkdir()
    met = [future.result(120) for future in [slurm.submit(in_worker.meet, place, 4) for _ in range(4)]]
    assert len({process for *_, process in met}) == 4 and all(threads == {1} for threads, *_ in met)


def test_what_a_job_raises_is_raised_here_and_one_out_of_time_is_stopped(slurm: Slurm) -> None:
    mistaken, late = slurm.submit(in_worker.mistake, "p must be better"), slurm.submit(in_worker.hang)
    assert isinstance(mistaken.exception(), InputError) and str(mistaken.exception()) == "p must be better"
    # Slurm tells it 30 seconds before its limit, and stops it within a minute after. Told with another signal at once,
    # submitit may lose its own error within its log (seen in one of five runs), and then there is no result.
    assert isinstance(late.exception(), UncompletedJobError)
    assert re.search("timed-out|left no result, killed or out of time", str(late.exception()))


def test_a_cancelled_future_cancels_its_job(slurm: Slurm, tmp_path: Path) -> None:
    place = tmp_path / "meeting"
    place.mkdir()
    # Each asks for a quarter of the node, so that the fifth begins when one has gone.
    hanging = [slurm.submit(in_worker.hang) for _ in range(4)]
    waiting = slurm.submit(in_worker.meet, place, 1)
    assert all(future.cancel() for future in hanging)
    assert waiting.result()


def test_a_job_that_dies_without_a_word_is_noticed(slurm: Slurm) -> None:
    assert "left no result" in str(slurm.submit(in_worker.end).exception(100))

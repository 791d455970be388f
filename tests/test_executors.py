"""The executors: one result under all of them; what fails in one unit is not lost for the others, and is said."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import in_worker
import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster
from pytorch_lightning.utilities.rank_zero import rank_zero_info  # pyright: ignore[reportPrivateImportUsage]
from tiny_audit import ROOT, TINY, Ran, Silent, once, scores_of, wait_for

from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.extraction.view_cache import ViewCache
from lpla.store.artifacts import Store
from lpla.work import dispatch
from lpla.work.dispatch import make_all
from lpla.work.executor.dask import Dask
from lpla.work.executor.processes import Processes
from lpla.work.executor.serial import Serial
from lpla.work.recipe import Unit
from lpla.work.unit import UnitReport

Cli = Callable[..., Ran]


def numbers(ran: Ran) -> list[dict]:
    return [row | {"seconds": 0} for row in json.loads((ran.folder / "result.json").read_text())]


@pytest.fixture
def serial(cli: Cli) -> Ran:
    ran = cli(*TINY, "store=serial")
    assert ran.code == 0
    return ran


def same(one: Ran, other: Ran) -> bool:
    scores = [scores_of(ran.folder) for ran in (one, other)]
    return numbers(one) == numbers(other) and all(np.array_equal(*(s[name] for s in scores)) for name in scores[0])


@pytest.mark.slow
def test_processes_give_the_result_of_one_and_nothing_is_started_for_what_is_there(cli: Cli, serial: Ran) -> None:
    ran = cli(*TINY, "executor=processes", "executor.workers=2", f"executor.threads={torch.get_num_threads()}")
    assert ran.code == 0, ran.out
    assert ran.out.count("trained and observed") == 6 and same(serial, ran)
    again = cli(*TINY, "executor=processes", "executor.gpus=[no, such]")
    assert again.code == 0 and again.out.count(": found") == 6 and same(serial, again)


@pytest.mark.slow
def test_workers_have_a_share_of_the_cores_and_a_gpu_of_their_own_that_a_dead_one_leaves(tmp_path: Path) -> None:
    with Processes(workers=2, threads=None, gpus=["a", "b"], per_gpu="auto", minutes=None) as executor:
        seen = [future.result() for future in [executor.submit(in_worker.meet, tmp_path, 2) for _ in range(2)]]
        assert {gpu for _, gpu, _ in seen} == {"a", "b"}
        assert all(threads == {max(1, len(os.sched_getaffinity(0)) // 2)} for threads, _, _ in seen)
        ends = [executor.submit(in_worker.end) for _ in range(2)]
        assert all(future.exception() is not None for future in ends)
        later = [future.result() for future in [executor.submit(in_worker.meet, tmp_path, 4) for _ in range(2)]]
        assert {gpu for _, gpu, _ in later} == {"a", "b"}
        assert not {pid for *_, pid in later} & {pid for *_, pid in seen}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ({1: 10.0, 2: 5.2, 3: 9.0}, 1),
        ({1: 10.0, 2: 8.0, 3: 5.5}, 2),
        ({1: 10.0, 2: 8.0, 3: 7.0}, 3),
        ({1: 10.0, 2: 8.0}, 2),
    ],
    ids=["no gain", "no further gain", "gain", "no room for three"],
)
def test_so_many_share_a_gpu_as_gain_by_it(rates: dict[int, float], taken: int, tmp_path: Path) -> None:
    with Processes(workers=None, threads=1, gpus=["a"], per_gpu="auto", minutes=None) as executor:
        executor.adapt(partial(in_worker.rehearse, rates), 4)
        seen = [f.result() for f in [executor.submit(in_worker.meet, tmp_path, taken) for _ in range(2 * taken)]]
        assert len({pid for *_, pid in seen}) == taken and {gpu for _, gpu, _ in seen} == {"a"}


@pytest.mark.slow
def test_few_encoders_are_not_worth_a_rehearsal_and_a_mistake_is_one() -> None:
    with Processes(workers=None, threads=1, gpus=["a"], per_gpu="auto", minutes=None) as executor:
        executor.adapt(partial(in_worker.rehearse, {}), 3)
        with pytest.raises(MemoryError, match="no room"):
            executor.adapt(partial(in_worker.rehearse, {}), 4)


@pytest.mark.slow
def test_encoders_are_rehearsed_side_by_side_and_change_no_bit(cli: Cli, serial: Ran) -> None:
    ran = cli(*TINY, "executor=processes", "executor.gpus=[0]", f"executor.threads={torch.get_num_threads()}")
    assert ran.code == 0, ran.out
    assert re.search(r"side by side on a GPU, 1: \d+\.\d steps/s, 2: \d+\.\d steps/s", ran.out)
    assert same(serial, ran)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("executor.workers=0", "executor.workers must be an integer >= 1 or null, got 0"),
        ("executor.threads=0", "executor.threads must be an integer >= 1 or null, got 0"),
        ("executor.per_gpu=0", "executor.per_gpu must be auto or an integer >= 1, got 0"),
        ("executor.minutes=0", "executor.minutes must be a number > 0 or null, got 0"),
    ],
)
def test_settings_that_cannot_work(cli: Cli, mistake: str, said: str) -> None:
    ran = cli(*TINY, "executor=processes", mistake)
    assert ran.code == 1 and f"error: {said}" in ran.out


class Faulty:
    """As `work`, but the units named fail as often as said."""

    def __init__(self, kind: type[Exception], times: dict[str, int]) -> None:
        self.kind, self.times, self.usual = kind, times, dispatch.work

    def __call__(self, unit: Unit, *others: object) -> UnitReport:
        self.times[unit.name] = self.times.get(unit.name, 0) - 1
        if self.times[unit.name] >= 0:
            raise self.kind(f"{unit.name} was hit")
        return self.usual(unit, *others)  # pyright: ignore[reportArgumentType]


def made_by(plan: Plan, store: Store, executor: Executor, silent: Silent) -> list[str]:
    names: list[str] = []
    make_all(plan.units[:3], store, executor, silent, ViewCache(0), lambda unit, made: names.append(unit.name))
    return names


def test_a_failed_unit_is_tried_once_more_and_costs_the_others_nothing(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = tiny(), Store(tmp_path)
    monkeypatch.setattr(dispatch, "work", Faulty(OSError, {"target": 1}))
    assert made_by(plan, store, Serial(), silent) == ["shadow 1", "shadow 2", "target"]
    monkeypatch.setattr(dispatch, "work", Faulty(OSError, {"shadow 1": 2}))
    with pytest.raises(OSError, match="shadow 1 was hit"):
        made_by(tiny("seed=1"), store, Serial(), silent)
    assert len([kind for kind, *_ in store.artifacts() if kind == "encoders"]) == 5


def test_after_a_users_mistake_no_unit_is_begun(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = Faulty(InputError, {"shadow 1": 2})
    monkeypatch.setattr(dispatch, "work", faulty)
    with pytest.raises(InputError, match="shadow 1 was hit"):
        made_by(tiny(), Store(tmp_path), Serial(), silent)
    assert faulty.times == {"target": -1, "shadow 1": 1}


def test_whatever_fails_is_a_row_with_the_reason_and_the_sweep_goes_on(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "work", Faulty(ZeroDivisionError, {"shadow 2": 2}))
    ran = cli("-m", *TINY, "shadows=2", "seed=0,1")
    assert ran.code == 1 and "1 of 2 jobs failed" in ran.out and "Traceback" in ran.out
    assert "shadow 2 failed and is tried once more: ZeroDivisionError: shadow 2 was hit" in ran.out
    rows = [json.loads((ran.folder / job / "result.json").read_text()) for job in "01"]
    assert [row.get("error") for row in rows[0]] == ["ZeroDivisionError: shadow 2 was hit"]
    assert all("error" not in row for row in rows[1])
    again = cli("-m", *TINY, "shadows=2", "seed=0,1")
    assert again.code == 0 and again.out.count("trained and observed") == 1


@pytest.mark.slow
def test_a_local_dask_cluster_gives_the_result_of_one_process(cli: Cli, serial: Ran) -> None:
    before = {name: value for name, value in os.environ.items() if name.endswith("_THREADS")}
    ran = cli(*TINY, "executor=dask", f"executor.threads={torch.get_num_threads()}")
    assert ran.code == 0, ran.out
    assert {name: value for name, value in os.environ.items() if name.endswith("_THREADS")} == before
    assert ran.out.count("trained and observed") == 6 and same(serial, ran)


@pytest.mark.slow
def test_dask_workers_that_take_several_tasks_at_once_are_refused(cli: Cli) -> None:
    local: Any = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with local as cluster:
        ran = cli(*TINY, "executor=dask", f"executor.address={cluster.scheduler_address}")
    assert ran.code == 1 and "error: executor.address needs workers of one task at a time" in ran.out


def test_lightning_is_quiet_also_where_it_is_imported_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    dispatch.quieten_lightning()
    logging.getLogger("pytorch_lightning").setLevel(logging.INFO)  # As its import does.
    rank_zero_info("GPU available")
    rank_zero_info("a tip")
    assert caplog.records == []


@pytest.fixture
def tls(tmp_path: Path) -> dict[str, Any]:
    """The settings of a certificate that signed itself, and so is its own authority."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("no openssl to make a certificate with")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=lpla"]
    subprocess.run([openssl, *made, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return {"tls_ca_file": cert, "tls_cert": cert, "tls_key": key}


@pytest.mark.slow
def test_a_dask_cluster_with_certificates_refuses_whoever_has_none(tls: dict[str, Any]) -> None:
    with Dask(workers=1, **tls) as executor:
        assert executor._cluster is not None
        address = executor._cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        assert executor.submit(os.getpid).result(60) != os.getpid()
        with Dask(address=address, **tls) as other:
            assert other.submit(os.getpid).result(60) != os.getpid()
        for stranger in (address, address.replace("tls://", "tcp://")):
            with pytest.raises((OSError, TypeError)):
                Client(stranger, timeout=3, set_as_default=False)


def test_certificates_of_dask_are_all_or_none(tls: dict[str, Any]) -> None:
    without_key: dict[str, Any] = tls | {"tls_key": None}
    with pytest.raises(InputError, match=r"^executor.tls_key must be a PEM file, as TLS needs .*, got None$"):
        Dask(**without_key)
    without_file: dict[str, Any] = tls | {"tls_cert": "/no/such"}
    with pytest.raises(InputError, match=r"^executor.tls_cert must be a PEM file, .*, got /no/such$"):
        Dask(**without_file)
    with pytest.raises(InputError, match=r"^executor.address must begin with tls:// .*, got tcp://here:8786$"):
        Dask(address="tcp://here:8786", **tls)


@pytest.mark.slow
def test_work_that_takes_too_long_is_stopped_and_the_rest_goes_on() -> None:
    with Processes(workers=1, threads=None, gpus=[], per_gpu=1, minutes=4 / 60) as executor:
        hanging, other = executor.submit(in_worker.hang), executor.submit(os.getpid)
        assert isinstance(hanging.exception(), TimeoutError) and other.result() != os.getpid()


@pytest.mark.slow
def test_two_audits_at_once_share_their_encoders(cli: Cli, serial: Ran, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), *TINY]
    audits = [
        subprocess.Popen([*command, f"hydra.run.dir=outputs/{name}"], stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    said = [audit.communicate(timeout=300)[0] for audit in audits]
    assert [audit.returncode for audit in audits] == [0, 0], said
    assert sum(one.count("trained and observed") for one in said) == 6, said
    for name in ("one", "other"):
        assert same(serial, Ran(0, "", "", tmp_path / "outputs" / name))


@pytest.mark.slow
def test_a_signal_ends_the_workers_and_leaves_their_checkpoints(tmp_path: Path) -> None:
    settings = once(*TINY, "epochs=100000", "checkpoint.every=1", "executor=processes", "limits.hours=null")
    command = [sys.executable, str(ROOT / "run.py"), *settings]
    audit = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: list((tmp_path / "store").glob("checkpoints/*/*")), 300)
    audit.terminate()
    said = audit.communicate(timeout=300)[0]
    assert audit.returncode == 128 + signal.SIGTERM and "the same command goes on from there" in said
    wait_for(lambda: not alive(audit.pid), 300)
    assert list((tmp_path / "store").glob("checkpoints/*/*"))


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

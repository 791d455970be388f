"""Ranks under torch.distributed.run, started for real: what they make, what they say, and that none is left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from tiny_audit import ROOT, TINY, Ran, Silent, once, wait_for
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store, key_of
from lpla.training import signals
from lpla.training.signals import Stopped, stoppable
from lpla.work.launcher import Launch, _wait_for_hosts, repeat
from lpla.work.recipe import Unit
from lpla.work.unit import load_observed, make

pytestmark = pytest.mark.slow

Cli = Callable[..., Ran]
DDP = ("trainer=ddp", "trainer.devices=2")
FEW = ("knowledge.kind=known_nonmembers", "knowledge.images=20")
PATIENCE = 240


def ranks_of(store: Path) -> list[int]:
    """Process ids of the ranks that work for a store."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:  # It has ended meanwhile.
            continue
        # Their launcher's command ends as theirs does.
        if b"lpla.work.unit" in command[:4] and str(store).encode() in command:
            found.append(int(entry.name))
    return found


def weights(unit: Unit, store: Store) -> dict[str, torch.Tensor]:
    return load_file(store.path("encoders", key_of(unit.encoder_parts)) / "weights.safetensors")


@contextmanager
def threads_of_a_rank() -> Iterator[None]:
    """One of two ranks has half of the threads; how a gradient is summed depends on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // 2))
    yield
    torch.set_num_threads(before)


def test_two_ranks_make_the_unit_of_one_process(tiny: Callable[..., Plan], tmp_path: Path, silent: Silent) -> None:
    unit, alone = (tiny(*overrides, "observe.every=1").units[0] for overrides in (DDP, ()))
    two, one = Store(tmp_path / "two"), Store(tmp_path / "one")
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    made = make(unit, two, silent)
    with threads_of_a_rank():
        single = make(alone, one, Silent())
    assert made == replace(single, seconds=made.seconds) and made.trained
    assert sum(silent.tasks["target: training on 20 images"]) == 2
    assert silent.tasks["target: 4 views of 40 images"] == [40]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert not torch.distributed.is_initialized()
    assert ranks_of(two.root) == [] and list((two.root / "unfinished").iterdir()) == []
    assert alone.encoder_parts == unit.encoder_parts
    expected = weights(alone, one)
    assert all(torch.allclose(value, expected[name], 1e-4, 1e-4) for name, value in weights(unit, two).items())
    same_statistics_again(alone, two)


def same_statistics_again(unit: Unit, store: Store) -> None:
    """One process finds, to the bit, what the ranks that trained the encoder found."""
    last = next(o for o in unit.observations if o.epoch is None)
    layers = ("backbone", "projector")
    found = {layer: {k: np.array(v) for k, v in load_observed(unit, store, last, layer).values.items()}
             for layer in layers}  # fmt: skip
    for config in last.statistics:
        shutil.rmtree(store.path("statistics", key_of(unit.statistic_parts(last, config))))
    made = make(unit, store, Silent())
    assert (made.trained, made.observed) == (False, len(last.statistics))
    for layer in layers:
        again = load_observed(unit, store, last, layer).values
        assert again.keys() == found[layer].keys()
        assert all(np.array_equal(again[name], value, equal_nan=True) for name, value in found[layer].items())


def test_a_sweep_over_ranks_trains_every_encoder_once_and_leaves_no_process(cli: Cli, tmp_path: Path) -> None:
    sweep = cli("-m", *TINY, *DDP, "arch=simclr,byol", "p=1,2", *FEW)
    assert sweep.code == 0, sweep
    # Four jobs, of which two have a target of their own, each with its untrained likeness.
    assert sweep.out.count(": trained and observed") == 4 and sweep.out.count(": found") == 4
    assert sweep.out.count("target: 2 ranks, batch statistics over all of them") == 4
    encoders = [place for kind, place, _ in Store(tmp_path / "store").artifacts() if kind == "encoders"]
    assert len(encoders) == 4
    assert (sweep.folder / "table.csv").read_text().count(",known_nonmembers,") == 8
    assert ranks_of(tmp_path / "store") == []


MISTAKES = {
    # The ranks find this one.
    "arch.optimization.optimizer.weight_decay=1e6": "the training loss became nan in epoch 2 of 2",
    "trainer.devices=3": "train.batch_size must be a multiple of the ranks (trainer.devices x trainer.num_nodes), "
    "which are 3, got 10",
    "trainer=cpu": "trainer.devices must be 1 without trainer=ddp, got 2",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(cli: Cli, tmp_path: Path, mistake: str) -> None:
    ran = cli(*TINY, *DDP, mistake)
    errors = [line for line in ran.out.splitlines() if line.startswith("error:")]
    assert ran.code == 1 and len(errors) == 1, ran
    assert errors[0].startswith(f"error: {MISTAKES[mistake]}")
    assert "Traceback" not in ran.out and ran.err == ""
    assert ranks_of(tmp_path / "store") == [] and list(Store(tmp_path / "store").artifacts()) == []


def test_what_rank_0_says_is_repeated_here_and_noise_is_not(silent: Silent, caplog: pytest.LogCaptureFixture) -> None:
    """In a process of its own, whose other prints must not be taken for reports."""
    code = """if True:
        import logging, os
        from lpla.work.rank import Reports
        print("NCCL version 2")
        reports = Reports()
        logging.getLogger("lpla").addHandler(reports)
        advances = [reports.begin(task, 3) for task in ("one", "other")]
        advances[1](2)
        os.write(1, b"half a line")
        logging.getLogger("lpla.work").warning("in %s", "words")
        advances[0](1)
        reports.end({"trained": True})
        """
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    made: dict = {}
    with caplog.at_level("INFO", logger="lpla"):
        repeat(ran.stdout.splitlines(), silent.begin, made)
    assert silent.tasks == {"one": [1], "other": [2]} and made == {"trained": True}
    assert [(one.name, one.levelname, one.getMessage()) for one in caplog.records] == [
        ("lpla.work", "WARNING", "in words")
    ]
    assert "half a line" in ran.stderr


@contextmanager
def once_ranks_run(folder: Path, act: Callable[[], object]) -> Iterator[None]:
    """Within, another thread waits for two ranks and then acts."""

    def wait() -> None:
        wait_for(lambda: len(ranks_of(folder)) == 2, PATIENCE)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


def test_a_killed_rank_ends_the_other_and_is_named(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    unit, store = tiny(*DDP, "epochs=100000").units[0], Store(tmp_path)
    kill = lambda: os.kill(max(ranks_of(tmp_path)), signal.SIGKILL)  # noqa: E731
    with once_ranks_run(tmp_path, kill), pytest.raises(RuntimeError, match=r"rank 1 of 2 ended \(SIGKILL\)"):
        make(unit, store, Silent())
    assert ranks_of(tmp_path) == []


@pytest.mark.parametrize("rank", [0, 1])
def test_of_several_failures_the_cause_is_named(rank: int, tmp_path: Path) -> None:
    """The other rank loses this one and fails by an error within the same second, or is ended by the launcher."""
    start, files = Launch(2, 1, "here", 0), [tmp_path / str(one) / "error.json" for one in range(2)]

    def error(cause: int, other: int, raises: tuple[int, ...]) -> str:
        for one in raises:
            files[one].parent.mkdir(exist_ok=True)
            message = {"message": f"OSError: from rank {one}", "extraInfo": {"timestamp": int(time.time())}}
            files[one].write_text(json.dumps({"message": message}))
        codes = {rank: cause, 1 - rank: other}
        failures = {one: ProcessFailure(one, 123, code, str(files[one])) for one, code in sorted(codes.items())}
        return str(start._error(tmp_path, "noise\n" + ChildFailedError("unit", failures).format_msg()))

    assert error(-9, 1, (1 - rank,)) == f"rank {rank} of 2 ended (SIGKILL)"
    assert error(1, -15, (rank,)) == f"rank {rank} of 2 ended (exit code 1): OSError: from rank {rank}"
    assert str(start._error(tmp_path, "no such port")).endswith("without a word of its ranks: no such port")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_sentence_survives_a_rank_that_was_ended_while_it_wrote_its_own(rank: int, tmp_path: Path) -> None:
    """Ranks fail by a mistake within the same moment; the first to end makes torch's launcher end the other."""
    for one, text in ((rank, json.dumps({"message": {"message": "InputError: p must be > 0"}})), (1 - rank, "")):
        (tmp_path / str(one)).mkdir()
        (tmp_path / str(one) / "error.json").write_text(text)
    found = Launch(2, 1, "here", 0)._error(tmp_path, "")
    assert isinstance(found, InputError) and str(found) == "p must be > 0"
    (tmp_path / str(rank) / "error.json").unlink()
    assert str(Launch(2, 1, "here", 0)._error(tmp_path, "noise")).endswith("without a word of its ranks: noise")


def test_a_signal_ends_the_ranks_before_this_process_stops(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    unit, store = tiny(*DDP, "epochs=100000").units[0], Store(tmp_path)
    handler, seen = signal.getsignal(signal.SIGTERM), []
    stop = lambda: (seen.append(signal.getsignal(signal.SIGTERM)), os.kill(os.getpid(), signal.SIGTERM))  # noqa: E731
    with once_ranks_run(tmp_path, stop), pytest.raises(Stopped) as stopped, stoppable():
        try:
            make(unit, store, Silent())
        finally:
            assert ranks_of(tmp_path) == []
    # The handler was called once, was never replaced, and what was before is back.
    assert stopped.value.code == 128 + signal.SIGTERM and seen == [signals._note]
    assert signal.getsignal(signal.SIGTERM) == handler


def test_an_interrupt_ends_the_ranks(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    unit, store = tiny(*DDP, "epochs=100000").units[0], Store(tmp_path)
    ours: list[int] = []

    def interrupt(*_: object) -> None:
        ours.append(len(ranks_of(tmp_path)))
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with once_ranks_run(tmp_path, lambda: os.kill(os.getpid(), signal.SIGTERM)), pytest.raises(KeyboardInterrupt):
            make(unit, store, Silent())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ours == [2] and ranks_of(tmp_path) == []


def test_ranks_do_not_outlive_a_killed_audit(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "run.py"),
        *once(*TINY, *DDP, "epochs=100000", "checkpoint.every=1", "limits.hours=null"),
    ]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as audit:
        try:
            wait_for(lambda: list(tmp_path.glob("store/checkpoints/*/*")), PATIENCE)
            family = psutil.Process(audit.pid).children(recursive=True)
            assert len(ranks_of(tmp_path / "store")) == 2 and len(family) >= 3
        finally:
            audit.kill()
    wait_for(lambda: ranks_of(tmp_path / "store") == [], PATIENCE)
    # Nor does torch.distributed.run.
    assert psutil.wait_procs(family, PATIENCE)[1] == []


def test_a_rank_whose_launcher_has_gone_ends(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    tiny(*DDP).units[0].save(tmp_path / "recipe.json")
    # It would wait for a second rank for half an hour.
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    meeting = {"GROUP_WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "TORCHELASTIC_RUN_ID": "a"}
    command = [sys.executable, "-m", "lpla.work.unit", str(tmp_path / "recipe.json"), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=os.environ | place | meeting) as rank:  # fmt: skip
        wait_for((tmp_path / "group").exists, PATIENCE)
        assert rank.poll() is None
        assert "the process that launched this rank has ended" in rank.communicate(timeout=PATIENCE)[1]
        assert rank.returncode == 1


def test_on_one_machine_nothing_listens_but_on_loopback(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    unit, listening = tiny(*DDP, "epochs=100000").units[0], set()

    def look() -> None:
        """Sockets of this process and of all that it started, once the ranks train."""
        wait_for(lambda: silent.tasks.get("target: training on 20 images"), PATIENCE)
        this = psutil.Process()
        for one in (this, *this.children(recursive=True)):
            sockets = one.net_connections("inet")
            listening.update(s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN)
        os.kill(max(ranks_of(tmp_path)), signal.SIGKILL)

    before = {s.laddr for s in psutil.Process().net_connections("inet") if s.status == psutil.CONN_LISTEN}
    assert not before
    with once_ranks_run(tmp_path, look), pytest.raises(RuntimeError, match=r"ended \(SIGKILL\)"):
        make(unit, Store(tmp_path), silent)
    assert listening and all(ip_address(ip).is_loopback for ip in listening), listening


def test_an_audit_whose_other_hosts_do_not_come_says_so(
    tiny: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpla.work.launcher.JOIN_SECONDS", 0.3)
    unit = tiny("trainer=ddp", "trainer.devices=1", "trainer.num_nodes=3", "train.batch_size=9").units[0]
    with pytest.raises(InputError, match=r"needs `python -m lpla.work.launcher .*` on every other host.*0 of 2 came"):
        make(unit, Store(tmp_path), Silent())


def test_what_an_audit_waits_for_is_said_before_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For ten minutes nothing was said."""
    said: list[str] = []

    def no_more() -> None:
        said.extend(one.getMessage() for one in caplog.records)
        raise Stopped(2)

    monkeypatch.setattr("lpla.work.launcher.signals.check", no_more)
    with caplog.at_level("INFO", logger="lpla"), pytest.raises(Stopped):
        _wait_for_hosts(tmp_path, tmp_path / "store", 2)
    where = f"`python -m lpla.work.launcher {tmp_path / 'store'}` on every other host, within 600 s"
    assert said == [f"trainer.num_nodes=2: waiting for 1 more host; this needs {where}"]


def test_two_hosts_make_one_unit(tiny: Callable[..., Plan], tmp_path: Path, silent: Silent) -> None:
    unit = tiny("trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2").units[0]
    join = [sys.executable, "-m", "lpla.work.launcher", str(tmp_path)]
    with subprocess.Popen(join, stdout=subprocess.PIPE, text=True) as other:
        assert make(unit, Store(tmp_path), silent).trained
        assert other.stdout is not None
        assert sum(silent.tasks["target: training on 20 images"]) == 2
        assert "waiting for units" in other.stdout.readline() and other.stdout.readline().endswith(": done\n")
        other.terminate()
    assert ranks_of(tmp_path) == []

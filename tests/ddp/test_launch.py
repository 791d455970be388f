"""Ranks under torchrun's launcher, started for real: what they make, what they say, and that none is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_audit import ROOT, TINY, Ran, Silent, wait_for

from lpla.auditing.plan import Plan
from lpla.store.artifacts import Store, key_of
from lpla.work.launcher import joining
from lpla.work.recipe import Unit
from lpla.work.unit import load_observed, make

pytestmark = pytest.mark.slow

Cli = Callable[..., Ran]
DDP = ("trainer=ddp", "trainer.devices=2")
FEW = ("knowledge.kind=known_nonmembers", "knowledge.images=20")
PATIENCE = 60


def ranks_of(store: Path) -> list[int]:
    """Process ids of the ranks that work for a store."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:  # It has ended meanwhile.
            continue
        if b"lpla.work.unit" in command and str(store).encode() in command:
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
        assert all(np.array_equal(again[name], value) for name, value in found[layer].items())


def test_a_sweep_over_ranks_trains_every_encoder_once_and_leaves_no_process(cli: Cli, tmp_path: Path) -> None:
    sweep = cli("-m", *TINY, *DDP, "arch=simclr,byol", "p=1,2", *FEW)
    assert sweep.code == 0, sweep
    # Four jobs, of which two have a target of their own, each with its untrained likeness.
    assert sweep.out.count(": trained and observed") == 4 and sweep.out.count(": found") == 4
    assert sweep.out.count("target: 2 ranks, batch statistics over all of them") == 4
    encoders = [place for kind, place, _ in Store(tmp_path / "store").artifacts() if kind == "encoders"]
    assert len(encoders) == 4
    assert (sweep.folder / "table.csv").read_text().count("known_nonmembers") == 8
    assert ranks_of(tmp_path / "store") == []


MISTAKES = {
    "arch.optimization.base_lr=1e30": "the training loss became nan in epoch 1 of 2",  # The ranks find this one.
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


def test_a_signal_ends_the_ranks_and_then_does_what_it_did_before(tiny: Callable[..., Plan], tmp_path: Path) -> None:
    unit, store = tiny(*DDP, "epochs=100000").units[0], Store(tmp_path)
    ours: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: ours.append(len(ranks_of(tmp_path))))
    stop = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    try:
        with once_ranks_run(tmp_path, stop), pytest.raises(KeyboardInterrupt):
            make(unit, store, Silent())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ours == [0] and ranks_of(tmp_path) == []


def test_ranks_do_not_outlive_a_killed_audit(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py"), *TINY, *DDP, "epochs=100000"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as audit:
        try:
            wait_for(
                lambda: any("steps" in file.read_text() for file in tmp_path.glob("store/unfinished/*/events")),
                PATIENCE,
            )
            assert len(ranks_of(tmp_path / "store")) == 2
        finally:
            audit.kill()
    wait_for(lambda: ranks_of(tmp_path / "store") == [], PATIENCE)


def test_a_rank_whose_launcher_has_gone_ends(
    tiny: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = tiny(*DDP).units[0]
    # The tests' own process is not to end with its parent.
    monkeypatch.setattr("lpla.work.launcher._prctl_pr_set_pdeathsig", lambda _: None)
    with pytest.raises(SystemExit, match="the process that launched this rank has ended"), joining(unit, tmp_path, -1):
        pass


def test_two_hosts_make_one_unit(tiny: Callable[..., Plan], tmp_path: Path, silent: Silent) -> None:
    unit = tiny("trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2").units[0]
    join = [sys.executable, "-m", "lpla.work.launcher", str(tmp_path)]
    with subprocess.Popen(join, stdout=subprocess.PIPE, text=True) as other:
        assert make(unit, Store(tmp_path), silent).trained
        assert other.stdout is not None
        assert "waiting for units" in other.stdout.readline() and other.stdout.readline().endswith(": done\n")
        other.terminate()
    assert ranks_of(tmp_path) == []

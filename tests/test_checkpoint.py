"""Resuming: every framework ends with the bits of a training that nobody disturbed; a damaged state is never loaded."""

import json
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_audit import CONF, Silent, changed, source_of, tiny_settings

from lpla.auditing.plan import Plan, plan
from lpla.auditing.settings import composed
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store, key_of
from lpla.store.integrity import seal
from lpla.training import checkpoint
from lpla.training.checkpoint import KIND, STATE
from lpla.training.pretraining import Pretraining
from lpla.work.recipe import Unit
from lpla.work.unit import load_observed, make

pytestmark = [pytest.mark.slow, pytest.mark.parallel]
ARCHS = sorted(file.stem for file in (CONF / "arch").glob("*.yaml"))
HEADS = ("backbone.width=0.125", "arch.hidden_dim=16", "arch.output_dim=8")
OF_ARCH = {
    "dino": (*HEADS, "arch.crops.local_views=2", "arch.warmup=0.6"),
    "mae": ("backbone.width=16", "backbone.depth=2"),
    "moco": (*HEADS, "arch.queue_size=24"),
}
STEPS = 2
"""Of each epoch."""
Tiny = Callable[..., Plan]


class PulledError(Exception):
    """The plug was pulled."""


@contextmanager
def pulled_in_step(last: int) -> Iterator[list[int]]:
    """Counts the steps of a training, whose step number `last` fails (0: none)."""
    usual, seen = Pretraining.training_step, []

    def step(self: Pretraining, *args) -> torch.Tensor:
        seen.append(self.current_epoch)
        if len(seen) == last:
            raise PulledError
        return usual(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pretraining, "training_step", step)
        yield seen


def pull(unit: Unit, store: Store, last: int) -> None:
    with pulled_in_step(last), pytest.raises(PulledError):
        make(unit, store, Silent())


def files(unit: Unit, store: Store) -> dict[str, object]:
    """The encoder's weights and losses, and everything observed of it."""
    place = store.path("encoders", key_of(unit.encoder_parts))
    found: dict[str, object] = {"weights": (place / "weights.safetensors").read_bytes()}
    found["loss"] = json.loads((place / "training.json").read_text())["loss"]
    for kind, folder, parts in store.artifacts():
        if kind == "statistics":
            name = f"{parts['epoch']} {parts['statistic']['name']} {parts['images']}"
            found |= {f"{name} {f.name}": f.read_bytes() for f in folder.glob("*.npy")}
    return found


def checkpoints(store: Store) -> dict[int, Path]:
    return {parts["epoch"]: place for kind, place, parts in store.artifacts() if kind == KIND}


def longer(tiny: Tiny, *overrides: str) -> Unit:
    return tiny("epochs=5", "checkpoint.every=2", *overrides).units[0]


def cut_off(tiny: Tiny, tmp_path: Path) -> tuple[Unit, Store, Store]:
    """A unit, the store in which it was made, and one in which its training was cut after two epochs and a step."""
    unit, whole, cut = longer(tiny), Store(tmp_path / "whole"), Store(tmp_path / "cut")
    make(unit, whole, Silent())
    pull(unit, cut, last=2 * STEPS + 1)
    return unit, whole, cut


def unit_of(arch: str) -> Unit:
    unit = plan(tiny_settings("epochs=5", "checkpoint.every=2")).units[0]
    settings = composed([f"arch={arch}", *OF_ARCH.get(arch, HEADS)]).config
    chosen = {group: OmegaConf.to_container(settings[group], resolve=True) for group in ("arch", "backbone")}
    return changed(unit, **chosen)


@pytest.mark.parametrize("arch", ARCHS)
def test_a_training_cut_in_an_epoch_goes_on_to_the_same_bits(arch: str, tmp_path: Path) -> None:
    unit, whole, cut = unit_of(arch), Store(tmp_path / "whole"), Store(tmp_path / "cut")
    make(unit, whole, Silent())
    pull(unit, cut, last=3 * STEPS + 2)
    assert set(checkpoints(cut)) == {2}
    with pulled_in_step(0) as steps:
        made = make(unit, cut, Silent())
    assert made.trained and steps == [2, 2, 3, 3, 4, 4]
    assert files(unit, cut) == files(unit, whole) and len(files(unit, whole)["loss"]) == 5  # pyright: ignore[reportArgumentType]
    assert not checkpoints(cut) and not checkpoints(whole)


def test_cut_again_and_again_it_still_ends_with_the_same_bits(tiny: Tiny, tmp_path: Path) -> None:
    unit, whole, cut = longer(tiny, "checkpoint.every=1"), Store(tmp_path / "whole"), Store(tmp_path / "cut")
    make(unit, whole, Silent())
    for epoch in range(1, 5):
        pull(unit, cut, last=STEPS + 1)
        assert set(checkpoints(cut)) == {epoch}
    make(unit, cut, Silent())
    assert files(unit, cut) == files(unit, whole)


def test_what_was_observed_at_earlier_epochs_survives(tiny: Tiny, tmp_path: Path) -> None:
    unit = longer(tiny, "observe.every=1")
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    make(unit, whole, Silent())
    pull(unit, cut, last=3 * STEPS + 1)
    observed = {parts["epoch"] for kind, _, parts in cut.artifacts() if kind == "statistics"}
    assert observed == {1, 2, 3}
    # The third epoch is made again, but what was observed after it is there.
    with pulled_in_step(0) as steps:
        make(unit, cut, Silent())
    assert steps[0] == 3 - 1 and files(unit, cut) == files(unit, whole)


def test_what_is_to_be_observed_before_the_checkpoint_is_not_observed_after_it(tiny: Tiny, tmp_path: Path) -> None:
    plain, curved = longer(tiny), longer(tiny, "observe.every=1")
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    make(curved, whole, Silent())
    pull(plain, cut, last=4 * STEPS + 1)
    assert set(checkpoints(cut)) == {4}
    with pulled_in_step(0) as steps:
        make(curved, cut, Silent())
    assert steps[0] == 0 and files(curved, cut) == files(curved, whole)


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_checkpoint_is_named_set_aside_and_not_loaded(
    damage: str, tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit, whole, cut = cut_off(tiny, tmp_path)
    state = checkpoints(cut)[2] / STATE
    content = state.read_bytes()
    half = len(content) // 2
    flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
    state.write_bytes(content[:half] if damage == "truncated" else flipped)
    with pulled_in_step(0) as steps:
        make(unit, cut, Silent())
    assert f"damaged artifact: {state} does not match its checksum; set aside as" in caplog.text
    assert steps[0] == 0 and files(unit, cut) == files(unit, whole)
    assert [aside.name.split("-")[0] for aside in (cut.root / "damaged").iterdir()] == [KIND]


class Payload:
    """What a pickle can do to its reader."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("wrapped", [True, False], ids=["by torch", "plain pickle"])
def test_a_pickle_with_a_payload_is_refused_unexecuted(
    wrapped: bool, tiny: Tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unit, whole, cut = cut_off(tiny, tmp_path)
    place, proof = checkpoints(cut)[2], tmp_path / "executed"
    payload = {"state_dict": Payload(proof), "epoch": 2}
    if wrapped:
        torch.save(payload, place / STATE)
    else:
        (place / STATE).write_bytes(pickle.dumps(payload, protocol=2))  # torch warns of others, and refuses too
    # Whoever can write it can write its checksum too.
    (place / "checksums.json").unlink()
    seal(place)
    make(unit, cut, Silent())
    assert not proof.exists()
    assert f"{place / STATE} is no state of a training (UnpicklingError); set aside as" in caplog.text
    assert files(unit, cut) == files(unit, whole)
    # The proof proves something: read as any pickle, it is executed.
    (aside,) = (cut.root / "damaged").iterdir()
    torch.load(aside / STATE, weights_only=False) if wrapped else pickle.loads((aside / STATE).read_bytes())
    assert proof.exists()


def test_a_state_that_slurm_left_in_this_folder_is_not_taken_up(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit, whole, slurm = tiny().units[0], Store(tmp_path / "whole"), Store(tmp_path / "slurm")
    make(unit, whole, Silent())
    monkeypatch.chdir(tmp_path)
    for name, value in {"NTASKS": 1, "JOB_NAME": "lpla", "JOB_ID": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    (tmp_path / "hpc_ckpt_1.ckpt").write_bytes(b"of another encoder")
    make(unit, slurm, Silent())
    assert files(unit, slurm) == files(unit, whole)


def test_no_checkpoint_is_kept_before_its_seconds_have_passed(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    unit = longer(tiny, "checkpoint.every=1", "checkpoint.seconds=10")
    whole, cut = Store(tmp_path / "whole"), Store(tmp_path / "cut")
    usual, kept = Pretraining.on_train_epoch_end, []

    def after_six_seconds(self: Pretraining) -> None:
        kept.append(set(checkpoints(cut)))
        now[0] += 6
        usual(self)

    make(unit, whole, Silent())
    with monkeypatch.context() as patch:
        patch.setattr(Pretraining, "on_train_epoch_end", after_six_seconds)
        pull(unit, cut, last=4 * STEPS + 1)
    # 6, 12, 18 and 24 seconds after the start: the second is due, and then 12 seconds later the fourth.
    assert kept == [set(), set(), {2}, {2}] and set(checkpoints(cut)) == {4}
    make(unit, cut, Silent())
    assert files(unit, cut) == files(unit, whole)


def test_how_often_is_part_of_no_key_and_checked(tiny: Tiny) -> None:
    often, seldom = (tiny(f"checkpoint.every={n}", f"checkpoint.seconds={n}").units[0] for n in (1, 50))
    assert (source_of(often).checkpoint_every, source_of(seldom).checkpoint_every) == ((1, 1), (50, 50))
    assert often.encoder_parts == seldom.encoder_parts
    with pytest.raises(InputError, match=r"^checkpoint\.every must be an integer >= 1, got 0$"):
        tiny("checkpoint.every=0")
    with pytest.raises(InputError, match=r"^checkpoint\.seconds must be a number >= 0, got -1$"):
        tiny("checkpoint.seconds=-1")


def test_a_resumed_audit_reads_the_statistics_of_the_last_epoch(tiny: Tiny, tmp_path: Path) -> None:
    unit, whole, cut = longer(tiny), Store(tmp_path / "whole"), Store(tmp_path / "cut")
    make(unit, whole, Silent())
    pull(unit, cut, last=4 * STEPS + 2)
    make(unit, cut, Silent())
    for observation in unit.observations:
        found, expected = (load_observed(unit, store, observation, "backbone") for store in (cut, whole))
        assert all(
            np.array_equal(found.values[name], expected.values[name], equal_nan=True) for name in expected.values
        )

"""Settings of the trainer: what could change an encoder under another one's key is refused, and nothing is stored."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf
from tiny_audit import TINY, Ran

from lpla.auditing.plan import Plan
from lpla.auditing.settings import Settings
from lpla.contracts.inputs import InputError
from lpla.work.trainer import HARMLESS, INSTEAD, STRATEGY, TRAINER, resolve

Cli = Callable[..., Ran]
TARGET_ALONE = [*TINY, "knowledge.kind=known_nonmembers", "knowledge.images=20", "layer=projector", "trainer=cpu"]
TARGET_ALONE += ["utility.images=0", "permutations=1", "observe.statistics=[]"]
POISON = {
    "max_steps": "1",
    "max_epochs": "1",
    "limit_train_batches": "1",
    "overfit_batches": "1",
    "fast_dev_run": "true",
    "gradient_clip_val": "0.001",
    "accumulate_grad_batches": "2",
}
"""Each stored another encoder under the honest key."""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("name", POISON)
def test_a_refused_setting_leaves_nothing_that_the_honest_job_could_find(name: str, cli: Cli) -> None:
    refused = cli(*TARGET_ALONE, f"+trainer.{name}={POISON[name]}")
    assert refused.code == 1
    assert f"error: trainer.{name} must be left as it is" in refused.out
    assert INSTEAD.get(name, "no setting does it here") in refused.out
    honest = cli(*TARGET_ALONE)
    assert honest.code == 0 and "target: trained and observed" in honest.out and ": found" not in honest.out


@pytest.mark.slow
@pytest.mark.parallel
def test_an_encoder_of_another_precision_is_another_encoder(cli: Cli) -> None:
    for override in ("+trainer.precision=bf16-mixed", "+trainer.precision=32"):
        ran = cli(*TARGET_ALONE, override)
        assert ran.code == 0 and "target: trained and observed" in ran.out
    assert "target: found" in cli(*TARGET_ALONE).out


def test_every_setting_of_lightning_is_harmless_or_refused() -> None:
    names = set(inspect.signature(pl.Trainer).parameters)
    assert names >= HARMLESS and set(INSTEAD) <= names
    for name in names - HARMLESS:
        with pytest.raises(InputError, match=rf"^trainer\.{name} must be left as it is, .* got 1; "):
            resolve({"_target_": TRAINER, name: 1})


REFUSED = {
    "of a class of the user's": (
        {"_target_": "mine.Trainer"},
        r"^trainer\._target_ must be pytorch_lightning\.Trainer",
    ),
    "of a name that Lightning lacks": ({"max_epoch": 3}, r"^trainer\.max_epoch must be left as it is"),
    "of an object": ({"profiler": {"_target_": "mine.Profiler"}}, r"^trainer\.profiler must be a plain value, got"),
    "of another strategy": ({"strategy": "deepspeed"}, r"^trainer\.strategy must be auto or that of trainer=ddp"),
    "of a communication hook": (
        {"strategy": {"_target_": STRATEGY, "ddp_comm_hook": 1}},
        r"^trainer\.strategy must be auto or that of trainer=ddp",
    ),
    "of a precision": ({"precision": "transformer-engine"}, r"^trainer\.precision must be auto, 32-true, .* got tr"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_setting_that_is_refused(case: str) -> None:
    settings, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        resolve(settings)


@pytest.mark.parametrize("option", ["auto", "cpu", "ddp", "gpu"])
def test_every_option_of_ours_is_accepted(option: str, tiny_settings: Callable[..., Settings]) -> None:
    settings: Any = OmegaConf.to_container(tiny_settings(f"trainer={option}").config.trainer)
    resolved = resolve(settings)
    assert resolve(resolved) == resolved and resolved["precision"] in ("32-true", "bf16-mixed")


def test_precision_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve({})["precision"] == resolve({"precision": 32})["precision"] == "32-true"
    for there, expected in ((False, "32-true"), (True, "bf16-mixed")):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
        assert resolve({"precision": "auto"})["precision"] == expected
        assert resolve({"precision": "auto", "accelerator": "cpu"})["precision"] == "32-true"


def test_a_rehearsal_may_stop_after_some_steps(tiny: Callable[..., Plan]) -> None:
    trainer = tiny("trainer=cpu").units[0].source.trainer_factory()(max_steps=3, max_epochs=1)
    assert (trainer.max_steps, trainer.max_epochs) == (3, 1)

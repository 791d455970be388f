"""defense=dp: a step's gradients, what it claims and refuses, a resumed training, and an audit from end to end."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from private import NARROW, framework, norm, trained, views
from pytorch_lightning.callbacks import Checkpoint
from tiny_audit import TINY, Ran, Silent, changed, source_of, tiny_settings
from torch.nn.modules.batchnorm import _BatchNorm

from lpla.auditing import named
from lpla.auditing.defended import check_defenses
from lpla.auditing.plan import Plan, plan
from lpla.auditing.settings import composed
from lpla.contracts.defense import Step, Training, trainable
from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.encoders.defense._accountant import epsilon
from lpla.encoders.defense._groups import clipped_sum, noise
from lpla.encoders.defense.dp import DP
from lpla.metrics.epsilon import EpsilonBound, contradictions
from lpla.store.artifacts import Store, key_of
from lpla.training.defended import Defended
from lpla.training.pretraining import train
from lpla.work.trained import Trained

TINY_DP = ["defense=dp", "defense.group_size=2"]
NUMBERS = Training(members=20, batch_size=10, epochs=2)


@pytest.fixture(scope="module")
def source() -> Trained:
    """The target of a tiny audit: two epochs of two steps."""
    return source_of(plan(tiny_settings(*TINY_DP)).units[0])


def test_a_step_is_the_noised_sum_over_the_expected_groups() -> None:
    arch, defense = framework("simclr"), DP(noise=6.0, clip=0.05, group_size=4)
    seen, step = views(arch, 11), Step(7, 0.3, 3, Training(members=40, batch_size=10, epochs=2))
    loss, found = defense.gradients(one := deepcopy(arch), seen, step)
    total, losses = clipped_sum(deepcopy(arch), [view[:8] for view in seen], 0.3, 4, 0.05)
    fresh = dict(noise({name: weight.shape for name, weight in trained(arch).items()}, 6.0 * 0.05, 3, 7))
    assert float(loss) == pytest.approx(float(losses) / 2.5)
    for weight, gradient, name in zip(trainable(one), found, trained(arch), strict=True):
        assert gradient.shape == weight.shape and weight.grad is None
        torch.testing.assert_close(gradient, (total[name] + fresh[name]) / 2.5)
    _, nothing = defense.gradients(deepcopy(arch), [view[:3] for view in seen], step)  # which fill no group
    assert all(torch.equal(gradient, fresh[name] / 2.5) for gradient, name in zip(nothing, fresh, strict=True))


def test_a_step_in_bfloat16_has_gradients_of_the_weights_own_type() -> None:
    arch, defense = framework("simclr"), DP(noise=1e-6, clip=1e3, group_size=4)
    seen, step = views(arch, 8), Step(0, 0.0, 0, NUMBERS)
    with torch.autocast("cpu", torch.bfloat16):
        _, narrow = defense.gradients(deepcopy(arch), seen, step)
    _, exact = defense.gradients(arch, seen, step)
    assert {one.dtype for one in narrow} == {torch.float32}
    name = dict.fromkeys(map(str, range(len(exact))))
    one, other = (dict(zip(name, found, strict=True)) for found in (narrow, exact))
    assert 0 < norm({n: one[n] - other[n] for n in one}) < 0.3 * norm(other)


def test_the_claim_is_the_accountant_s_for_the_steps_that_are_taken() -> None:
    arch = framework("simclr")
    found = DP(noise=5.0).privacy(arch, Training(members=105, batch_size=10, epochs=3))
    assert found.relation == "replace one" and found.delta == 1 / 105
    assert found.epsilon == epsilon(10 / 105, 2.5, 30, 1 / 105)
    assert DP(noise=5.0, delta=1e-5).privacy(arch, NUMBERS).delta == 1e-5
    assert DP(noise=10.0).privacy(arch, NUMBERS).epsilon < DP(noise=5.0).privacy(arch, NUMBERS).epsilon
    assert 2.99 < DP(noise=DP.noise_for(3.0, NUMBERS)).privacy(arch, NUMBERS).epsilon <= 3.0


def test_what_would_break_the_bound_is_refused_before_training(tiny: Callable[..., Plan]) -> None:
    batch = ["members=20", "defense=dp"]
    with pytest.raises(
        InputError, match=r"train\.batch_size must be at least two groups .*group_size=8 images, got 10"
    ):
        tiny(*batch)
    with pytest.raises(InputError, match=r"defense\.group_size must be at least 2 under arch=simclr, .* got 1: "):
        tiny(*batch, "defense.group_size=1")
    with pytest.raises(InputError, match="defense=dp cannot train arch=moco: it keeps a queue"):
        tiny(*TINY_DP, "arch=moco", *NARROW["moco"])
    unit = tiny(*TINY_DP).units[0]
    half = changed(unit, trainer=source_of(unit).trainer | {"precision": "16-mixed"})
    settings = {"defense": unit.defense, "target": None, "observe": {"every": None}}
    with pytest.raises(InputError, match=r"trainer\.precision must be 32 or bf16 with defense=dp, .* got 16-mixed"):
        check_defenses(settings, [half])
    check_defenses(settings, [unit])
    for wrong in ("defense.noise=0", "defense.clip=-1", "defense.delta=1", "defense.group_size=0"):
        with pytest.raises(InputError, match=wrong.partition("=")[0].replace(".", r"\.")):
            tiny(*TINY_DP, wrong)


def test_the_failure_probability_is_in_no_key_and_the_noise_is(tiny: Callable[..., Plan]) -> None:
    keys = [key_of(tiny(*TINY_DP, *more).units[0].encoder_parts) for more in ([], ["defense.delta=0.01"])]
    assert keys[0] == keys[1]
    assert key_of(tiny(*TINY_DP, "defense.noise=5").units[0].encoder_parts) != keys[0]


def test_a_resumed_training_is_the_same_to_the_bit(source: Trained, tmp_path: Path) -> None:
    source = replace(source, regime=replace(source.regime, epochs=3))

    class Keep(Checkpoint):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                trainer.save_checkpoint(tmp_path / "state.ckpt")

    def run(callbacks: list, resume: Path | None) -> Arch:
        arch, images = source.build(), (source.images.pixels, np.asarray(source.members))
        defended = Defended(DP(group_size=2))
        train(arch, *images, source.regime, source.trainer_factory(), callbacks, resume=resume, defended=defended)
        return arch

    torch.manual_seed(1)
    whole = run([Keep()], None)
    torch.manual_seed(2)  # no draw is from the global state
    resumed = run([], tmp_path / "state.ckpt")
    start = source.build().state_dict()
    assert all(torch.equal(one, resumed.state_dict()[name]) for name, one in whole.state_dict().items())
    assert any(not torch.equal(one, start[name]) for name, one in whole.state_dict().items())


@pytest.mark.parametrize("name", ["mocov3", "mae"])
def test_other_frameworks_train_and_are_loaded(name: str, tmp_path: Path) -> None:
    small = [one for one in TINY if not one.startswith(("arch.", "backbone."))] + NARROW[name]
    vit = ["backbone=vit_micro", "backbone.width=16", "backbone.depth=1"]
    settings = composed(
        [
            *small,
            *TINY_DP,
            f"arch={name}",
            "arch.optimization.warmup_epochs=0",
            *(vit if name == "mae" else ["backbone.width=0.125"]),
        ]
    )
    source, store = source_of(plan(settings).units[0]), Store(tmp_path)
    first, anew = source.make("one", store, (), lambda: None, Silent())
    second, again = source.make("one", store, (), lambda: None, Silent())
    assert (anew, again) == (True, False)
    assert not any(isinstance(one, _BatchNorm) for one in first.modules())
    assert all(torch.equal(one, second.state_dict()[n]) for n, one in first.state_dict().items())


def test_an_audit_shows_the_claim_beside_a_bound_that_does_not_exceed_it(
    cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = cli(*TINY, *TINY_DP, "shadows=2")
    assert ran.code == 0
    rows = json.loads((ran.folder / "result.json").read_text())
    claimed = epsilon(10 / 20, 2.0, 4, 1 / 20)
    assert [row["claimed_epsilon"] for row in rows] == [claimed] * 2
    assert all(0 <= row["eps_low"] <= row["eps_cap"] for row in rows) and contradictions(rows) == []
    said = f"defense=dp guarantees epsilon {claimed:.2f} at delta 5.0e-02 (replace one)"
    assert all(said in row["notes"] for row in rows) and "group norm for batch norm; epsilon" in ran.err + ran.out

    monkeypatch.setattr(named, "epsilon_bound", lambda *_: EpsilonBound(claimed + 1, 9.0, 5, 5))
    planted = json.loads((cli(*TINY, *TINY_DP, "shadows=2").folder / "result.json").read_text())
    assert len(contradictions(planted)) == 2
    assert all(
        f"contradicts the epsilon of {claimed:.2f} that defense=dp claims" in str(row["notes"]) for row in planted
    )

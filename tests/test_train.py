"""Training: reproducible, independent of global state, one clear sentence where it cannot work."""

import math
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightly.utils.lars import LARS
from PIL import Image
from tiny_audit import changed, source_of
from torch import Tensor

from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.data.augment import apply
from lpla.encoders.backbone.cifar_resnet import CifarResNet
from lpla.encoders.forwards import contained
from lpla.training import pixels as members
from lpla.training.config import Batches, TrainConfig
from lpla.training.pretraining import Pretraining, fused, train, warmup_cosine
from lpla.work.plug_in import load_images
from lpla.work.recipe import Unit


def trained(unit: Unit) -> tuple[dict[str, torch.Tensor], list[float]]:
    source = source_of(unit)
    arch, index = source.build(), np.asarray(source.members)
    losses = train(arch, load_images(unit.dataset).pixels, index, source.regime, source.trainer_factory(), [])
    return arch.state_dict(), losses


@pytest.mark.parametrize("arch", ["simclr", "byol"])
def test_training_depends_on_its_recipe_alone(tiny: Callable[..., Plan], arch: str) -> None:
    unit = tiny(f"arch={arch}").units[0]
    torch.manual_seed(1)
    weights, losses = trained(unit)
    torch.manual_seed(2)
    np.random.seed(3)
    again, losses_again = trained(unit)
    assert losses == losses_again and len(losses) == 2 and all(map(math.isfinite, losses))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    initial = unit.source.build().state_dict()
    assert not all(torch.equal(weights[name], initial[name]) for name in weights)


@pytest.mark.parametrize("change", [{"seed": 5}, {"epochs": 3}, {"batch_size": 5}])
def test_every_part_of_the_regime_changes_the_weights(tiny: Callable[..., Plan], change: dict) -> None:
    unit = tiny().units[0]
    weights, _ = trained(unit)
    other, _ = trained(changed(unit, regime=replace(source_of(unit).regime, **change)))
    assert not all(torch.equal(weights[name], other[name]) for name in weights)


def test_streaming_from_a_memory_map_changes_no_weight(
    tiny: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unit = tiny().units[0]
    resident, _ = trained(unit)
    images = load_images(unit.dataset)
    mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=tuple(images.pixels.shape))
    mapped[:] = images.pixels.numpy()
    monkeypatch.setattr(members, "SHARE", 0.0)
    monkeypatch.setattr("test_train.load_images", lambda _: replace(images, pixels=torch.from_numpy(mapped)))
    with caplog.at_level("INFO"):
        streamed, _ = trained(unit)
    assert "20 members do not fit into half of the free memory of cpu: streamed" in caplog.text
    assert all(torch.equal(resident[name], streamed[name]) for name in resident)


def test_no_epochs_leave_the_initial_weights(tiny: Callable[..., Plan]) -> None:
    plan = tiny()
    weights, losses = trained(plan.encoders.untrained.unit)
    assert losses == []
    initial = plan.units[0].source.build().state_dict()
    assert all(torch.equal(weights[name], initial[name]) for name in weights)


def test_a_loss_that_is_not_finite_names_epoch_and_setting(tiny: Callable[..., Plan]) -> None:
    unit = tiny("arch.optimization.optimizer.weight_decay=1e6").units[0]
    with pytest.raises(InputError, match=r"loss became (nan|inf) in epoch 2 of 2: .*lower arch.optimization.base_lr"):
        trained(unit)


def test_weights_that_the_last_step_of_all_makes_infinite_are_no_encoder(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    unit = tiny("train.batch_size=20", "epochs=1").units[0]
    step = torch.optim.SGD.step

    def too_far(self: torch.optim.SGD, *given: Any, **more: Any) -> Any:
        found = step(self, *given, **more)
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(math.inf)
        return found

    monkeypatch.setattr(torch.optim.SGD, "step", too_far)
    with pytest.raises(InputError, match=r"^a weight of the network became infinite in epoch 1 of 1: .*base_lr"):
        trained(unit)


def test_large_weights_whose_sum_overflows_are_finite(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, usual = [], Pretraining.on_train_epoch_end

    def looked_at(self: Pretraining) -> None:
        usual(self)
        weight = next(self.arch.parameters())
        for value in (3e38, math.inf, -math.inf, math.nan):
            with torch.no_grad():
                kept = weight.clone()
                weight.fill_(3e38).view(-1)[-1] = value
                found.append(self._is_finite())
                weight.copy_(kept)

    monkeypatch.setattr(Pretraining, "on_train_epoch_end", looked_at)
    trained(tiny("epochs=1").units[0])
    assert found == [True, False, False, False]


def test_a_batch_larger_than_the_member_set(tiny: Callable[..., Plan]) -> None:
    unit = tiny().units[0]
    with pytest.raises(InputError, match="batch_size must be at most members, 20, got 21"):
        trained(changed(unit, regime=replace(source_of(unit).regime, batch_size=21)))


@pytest.mark.wrong_types
def test_a_device_without_float64_is_refused(tiny: Callable[..., Plan]) -> None:
    from types import SimpleNamespace

    source = source_of(tiny().units[0])
    index = np.asarray(source.members)
    apple = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("mps")))
    with pytest.raises(InputError, match=r"trainer must use a CPU or a CUDA GPU .* got mps; set trainer=cpu"):
        train(source.build(), source.images.pixels, index, source.regime, lambda **_: apple, [])  # pyright: ignore[reportArgumentType]


def test_epochs_are_fresh_permutations_cut_into_whole_batches(tiny: Callable[..., Plan]) -> None:
    regime: TrainConfig = replace(source_of(tiny().units[0]).regime, batch_size=6)
    epochs = [torch.cat(list(Batches(20, regime, partial(int, epoch)))) for epoch in range(3)]
    for order in epochs:
        assert len(order) == 18 and len(order.unique()) == 18
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[2], torch.cat(list(Batches(20, regime, lambda: 2))))


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    factor = warmup_cosine(4, 20)
    rates = [factor(step) for step in range(21)]
    assert rates[:4] == [0.2, 0.4, 0.6, 0.8]
    assert rates[4] == 1 and rates[12] == pytest.approx(0.5) and rates[20] == pytest.approx(0)
    assert sorted(rates[4:], reverse=True) == rates[4:]


def test_the_fused_step_is_asked_for_on_cuda_where_it_exists() -> None:
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert fused(partial(torch.optim.SGD, momentum=0.9), cuda) == fused(torch.optim.AdamW, cuda) == {"fused": True}
    assert fused(partial(torch.optim.SGD, foreach=True), cuda) == {}
    assert fused(LARS, cuda) == fused(partial(torch.optim.SGD, momentum=0.9), cpu) == {}


def test_narrow_strided_convolutions_have_the_same_bits_in_the_usual_order() -> None:
    random, device = torch.Generator().manual_seed(0), torch.device("cpu")
    pixels = torch.rand(6, 3, 32, 32, generator=random)

    def step(within: Callable[..., AbstractContextManager[None]]) -> list[Tensor]:
        torch.manual_seed(0)
        net: Any = CifarResNet(3, width=0.125).to(memory_format=torch.channels_last)
        with within(net, device):
            net(pixels).square().sum().backward()
        return [one.grad for one in net.parameters()]

    usual, guarded = step(lambda *_: nullcontext()), step(contained)
    assert all(torch.equal(one, other) for one, other in zip(usual, guarded, strict=True))


def test_only_what_overflows_has_another_forward() -> None:
    def other(width: float, device: str) -> int:
        net = CifarResNet(3, width=width)
        with contained(net, torch.device(device)):
            return sum("forward" in vars(one) for one in net.modules())

    assert (other(0.125, "cpu"), other(0.25, "cpu"), other(0.125, "cuda")) == (1, 0, 0)


NARROW = """
import sys
from lpla.auditing.door import audit
audit(*sys.argv[1:], "dataset=imagefolder", "backbone.width=0.125", "members=8", "train.batch_size=4", "epochs=3",
    "shadows=2", "queries=2", "observe.queries=2", "utility.images=8", "permutations=1", "arch.hidden_dim=16")
"""


@pytest.mark.slow
@pytest.mark.parallel
def test_a_narrow_network_on_coloured_images_of_64_pixels_is_trained_to_its_end(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 64, 64, 3), dtype=np.uint8)
    (tmp_path / "images" / "a").mkdir(parents=True)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "images" / "a" / f"{number}.png")
    folders = [f"data.root={tmp_path}/images", f"data.cache={tmp_path}/cache", f"store={tmp_path}/store"]
    # A child, as what it guards against is a write beyond allocated memory.
    ran = subprocess.run([sys.executable, "-c", NARROW, *folders], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]


def test_channels_last_changes_no_step(tiny: Callable[..., Plan]) -> None:
    unit = tiny().units[0]
    usual, other = source_of(unit).build(), source_of(unit).build()
    other.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    views = list(torch.rand(2, 8, 1, 8, 8))
    losses = [arch.loss(views, 0.0) for arch in (usual, other)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses, rtol=0, atol=1e-5)
    pairs = zip(usual.parameters(), other.parameters(), strict=True)
    assert all(torch.allclose(p.grad, q.grad, atol=1e-4) for p, q in pairs if p.grad is not None and q.grad is not None)


@pytest.mark.parametrize(("backend", "backends"), [(None, []), ("inductor", ["inductor"])])
def test_views_are_fused_if_training_compiles(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, backend: str | None, backends: list[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(apply, "_fused", lambda backend: asked.append(backend) or apply._views)
    source = source_of(tiny().units[0])
    held = members.Members(source.images.pixels, np.asarray(source.members), True)
    module = Pretraining(source.build(), held, source.regime, backend)
    module.on_after_batch_transfer(held(torch.arange(4), torch.device("cpu")), 0)
    assert asked == backends


@pytest.mark.parametrize("arch", ["simclr", "swav"])  # swav: two views of one kind and several of another
def test_views_of_one_kind_made_at_once_are_those_made_one_by_one(tiny: Callable[..., Plan], arch: str) -> None:
    source = source_of(tiny(f"arch={arch}").units[0])
    held = members.Members(source.images.pixels, np.asarray(source.members), True)
    module = Pretraining(source.build(), held, source.regime)
    pixels, stream = held(torch.arange(5), torch.device("cpu"))
    views = module.on_after_batch_transfer((pixels, stream), 0)
    one_by_one = [
        apply.augment(pixels, spec, source.regime.seed, stream, number) for number, spec in enumerate(module.specs)
    ]
    assert len(views) == len(one_by_one) >= 2
    assert all(torch.equal(*pair) for pair in zip(views, one_by_one, strict=True))


def test_training_in_bfloat16_keeps_weights_in_float32(tiny: Callable[..., Plan]) -> None:
    _, losses = trained(tiny("trainer=cpu").units[0])
    weights, rounded = trained(tiny("trainer=cpu", "+trainer.precision=bf16-mixed").units[0])
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
    assert rounded == pytest.approx(losses, rel=0.05) and rounded != losses


@pytest.mark.parametrize(("cuda", "bf16", "expected"), [(1, 1, "bf16-mixed"), (1, 0, "32-true"), (0, 0, "32-true")])
def test_automatic_precision_is_that_of_the_device(
    tiny: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, cuda: int, bf16: int, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bool(bf16))
    assert tiny("trainer=auto").units[0].source.trainer_factory().keywords["precision"] == expected


def test_when_to_compile_is_part_of_no_key(tiny: Callable[..., Plan]) -> None:
    usual, unit = tiny().units[0], tiny("train.compile=auto").units[0]
    assert (usual.source.compile_on_cuda, unit.source.compile_on_cuda) == (False, True)
    assert usual.encoder_parts == unit.encoder_parts
    with pytest.raises(InputError, match=r"^train\.compile must be never or auto, got true$"):
        tiny("train.compile=true")

"""Compiled backbones: one graph for all encoders of a family, the same state and values, only while they train."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from slow_step import build
from torch._dynamo.utils import counters

from lpla.contracts.encoder import Arch
from lpla.encoders.forwards import backend_on, compiled

pytestmark = pytest.mark.wrong_types  # Not wrong, but a graph that is captured has no room for what checks them.
NARROW = ("backbone.width=0.125", "arch.hidden_dim=8", "arch.output_dim=4")
BACKEND = "eager"  # captures the same graphs as inductor, and needs no compiler


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def views(batch: int = 6) -> list[torch.Tensor]:
    return list(torch.rand(2, batch, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def step(arch: Arch) -> torch.Tensor:
    loss = arch.loss(views(), 0.0)
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize(("name", "expected"), [("simclr", 1), ("byol", 2)])  # byol: one for the slow copy
def test_the_encoders_of_a_family_share_their_graphs(name: str, expected: int) -> None:
    for seed in range(3):
        arch = build(name, *NARROW, seed=seed)
        usual = build(name, *NARROW, seed=seed)
        with compiled(arch, BACKEND):
            loss = step(arch)
            assert arch.state_dict().keys() == usual.state_dict().keys()
        torch.testing.assert_close(loss, step(usual), rtol=0, atol=1e-6)
        for (key, one), (_, other) in zip(arch.named_parameters(), usual.named_parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-5, msg=key)
        assert graphs() == expected


def test_another_family_is_compiled_anew() -> None:
    for width in ("0.125", "0.25"):
        arch = build("simclr", *NARROW[1:], f"backbone.width={width}")
        with compiled(arch, BACKEND):
            step(arch)
    assert graphs() == 2


def test_evaluation_and_afterwards_are_not_compiled() -> None:
    arch = build("simclr", *NARROW)
    expected = arch.eval().encode(views()[0])["backbone"]
    with compiled(arch, BACKEND):
        assert torch.equal(arch.encode(views()[0])["backbone"], expected)
        assert graphs() == 0
    step(arch.train())
    assert graphs() == 0
    assert "forward" not in vars(arch.backbone)


def test_evaluation_alone_is_compiled_if_so_wished_also_within_training() -> None:
    arch = build("simclr", *NARROW)
    expected = arch.eval().encode(views()[0])["backbone"]
    with compiled(arch, BACKEND):
        training = vars(arch.backbone)["forward"]
        for _ in range(2):
            with compiled(arch, BACKEND, training=False), torch.inference_mode():
                torch.testing.assert_close(arch.encode(views()[0])["backbone"], expected, rtol=0, atol=1e-6)
            assert graphs() == 1
        assert vars(arch.backbone)["forward"] is training
        step(arch.train())
        assert graphs() == 2
    assert "forward" not in vars(arch.backbone)


@pytest.mark.parametrize(
    ("device", "wished", "expected"), [("cuda", 1, "inductor"), ("cuda", 0, None), ("cpu", 1, None)]
)
def test_compiling_is_for_cuda_and_only_if_so_wished(device: str, wished: int, expected: str | None) -> None:
    assert backend_on(torch.device(device), bool(wished)) == expected


def test_an_error_within_leaves_the_backbone_as_it_was() -> None:
    arch = build("simclr", *NARROW)
    with pytest.raises(RuntimeError, match="stop"), compiled(arch, BACKEND):
        raise RuntimeError("stop")
    assert "forward" not in vars(arch.backbone)

"""What holds for every framework on a ResNet: it trains, resumes to the bit, and embeds whatever the data sets hold."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from step_oracle import framework
from tiny_audit import source_of
from torch import Tensor

from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.training.pretraining import train

NAMES = ["simclr", "byol", "moco", "simsiam", "barlowtwins", "vicreg", "nnclr"]
MODES = ["joint", "per_view"]


@pytest.mark.parametrize("batch_norm", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_on_40_digits(tiny: Callable[..., Plan], name: str, batch_norm: str) -> None:
    at_once = "arch.optimization.warmup_epochs=0"  # two epochs hold no warm-up of ten
    unit = tiny(f"arch={name}", f"arch.batch_norm={batch_norm}", at_once, "members=40", "train.batch_size=20").units[0]
    source = source_of(unit)
    arch, index = source.build(), np.asarray(source.members)
    before = {key: tensor.clone() for key, tensor in arch.state_dict().items()}
    losses = train(arch, source.images.pixels, index, source.regime, source.trainer_factory(), [])
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    moved = {key for key, tensor in arch.state_dict().items() if not torch.equal(tensor, before[key])}
    assert moved >= {key for key in before if key.startswith(("backbone.", "slow_backbone."))}


class Session:
    """A tiny training loop over fixed views, with the framework's own optimiser."""

    def __init__(self, name: str, batch_norm: str, seed: int) -> None:
        size = ["arch.hidden_dim=24", "arch.output_dim=12", f"arch.batch_norm={batch_norm}"]
        size += ["arch.queue_size=40"] if name in ("moco", "nnclr") else []
        size += ["arch.final_momentum=1.0"] if name in ("moco", "byol") else []
        self.arch = framework(name, *size, seed=seed)
        spec = self.arch.optimization
        self.optimizer = spec.optimizer([p for p in self.arch.parameters() if p.requires_grad], lr=spec.base_lr)

    def run(self, start: int, stop: int) -> None:
        generator = torch.Generator().manual_seed(7)
        views = torch.rand(stop, 2, 6, 3, 8, 8, generator=generator)
        for step in range(start, stop):
            self.optimizer.zero_grad()
            self.arch.loss(tuple(views[step]), step / 6).backward()
            self.optimizer.step()

    def saved(self) -> bytes:
        file = io.BytesIO()
        torch.save({"arch": self.arch.state_dict(), "optimizer": self.optimizer.state_dict()}, file)
        return file.getvalue()

    def load(self, saved: bytes) -> None:
        state = torch.load(io.BytesIO(saved), weights_only=True)
        self.arch.load_state_dict(state["arch"])
        self.optimizer.load_state_dict(state["optimizer"])


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("batch_norm", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_resuming_in_the_middle_is_not_stopping(name: str, batch_norm: str) -> None:
    whole, first, second = (Session(name, batch_norm, seed) for seed in (0, 0, 1))
    whole.run(0, 6)
    first.run(0, 3)
    second.load(first.saved())
    second.run(3, 6)
    expected, got = whole.arch.state_dict(), second.arch.state_dict()
    assert expected.keys() == got.keys()
    assert [key for key in expected if not torch.equal(expected[key], got[key])] == []


@pytest.mark.parametrize(("name", "bank"), [("moco", "criterion.memory_bank"), ("nnclr", "queue")])
def test_the_bank_is_saved_seeded_and_its_loss_would_be_noticed(name: str, bank: str) -> None:
    state = framework(name).state_dict()
    assert state[f"{bank}.bank"].shape == (4096, 128 if name == "moco" else 256)
    torch.testing.assert_close(state[f"{bank}.bank"].norm(dim=1), torch.ones(4096))
    assert torch.equal(state[f"{bank}.bank"], framework(name).state_dict()[f"{bank}.bank"])
    assert not torch.equal(state[f"{bank}.bank"], framework(name, seed=1).state_dict()[f"{bank}.bank"])
    whole, resumed = Session(name, "joint", 0), Session(name, "joint", 0)
    for session in (whole, resumed):
        session.run(0, 3)
    resumed.arch.load_state_dict({f"{bank}.bank": torch.ones(40, 12)}, strict=False)
    for session in (whole, resumed):
        session.run(3, 6)
    assert not torch.equal(*(session.arch.state_dict()["backbone.conv1.weight"] for session in (whole, resumed)))


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32)])
@pytest.mark.parametrize("name", NAMES)
def test_it_embeds_digits_and_colour_images(name: str, channels: int, side: int) -> None:
    arch = framework(name, "backbone.width=0.25", channels=channels)
    x = torch.rand(4, channels, side, side)
    arch.loss((x, x.flip(0)), 0.0).backward()
    embedded = arch.eval().encode(x)
    assert tuple(embedded) == arch.layers
    width = {"simclr": 128, "byol": 256, "moco": 128, "nnclr": 256, "barlowtwins": 512, "vicreg": 512}.get(name, 2048)
    assert embedded["backbone"].shape == (4, 128) and embedded["projector"].shape == (4, width)
    alone = torch.cat([arch.encode(image[None])["projector"] for image in x])
    torch.testing.assert_close(embedded["projector"], alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_another_batch_norm_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"^arch.batch_norm must be joint or per_view, got 'none'$"):
        framework(name, "arch.batch_norm=none")


@pytest.mark.parametrize("name", ["moco", "nnclr"])
@pytest.mark.parametrize("size", [0, -1])
def test_a_queue_that_holds_nothing_is_refused(name: str, size: int) -> None:
    with pytest.raises(InputError, match=f"arch.queue_size must be an integer from 1 to 1000000, got {size}"):
        framework(name, f"arch.queue_size={size}")


def test_the_slow_networks_start_as_copies() -> None:
    for name in ("byol", "moco"):
        arch = framework(name)
        pairs: list[tuple[Tensor, Tensor]] = []
        for key, tensor in arch.state_dict().items():
            if key.startswith("slow_"):
                pairs.append((tensor, arch.state_dict()[key.removeprefix("slow_")]))
        assert pairs and all(torch.equal(*pair) for pair in pairs)

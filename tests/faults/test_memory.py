"""A device without memory: extraction in smaller chunks and training that computes again, both to the same bits."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tiny_audit import Silent, changed, tiny_settings
from torch import Tensor, nn

from lpla.auditing.plan import plan
from lpla.auditing.settings import composed
from lpla.contracts.encoder import Arch, Backbone
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import InputError
from lpla.encoders.recompute import recomputed
from lpla.extraction import extraction as observe
from lpla.extraction.query import Door
from lpla.store.artifacts import Store
from lpla.training.pretraining import Pretraining
from lpla.work.recipe import Unit
from lpla.work.unit import make

HEADS = ("backbone.width=0.125", "arch.hidden_dim=16", "arch.output_dim=8")
NETWORKS = {
    "joint": ("arch=simclr", *HEADS),
    "per view, slow copy": ("arch=moco", *HEADS, "arch.queue_size=24", "arch.batch_norm=per_view"),
    "large images": ("arch=simclr", "backbone=imagenet_resnet18", *HEADS[1:]),
    "transformer": ("arch=mae", "backbone.width=16", "backbone.depth=2"),
}
every_network = pytest.mark.parametrize("overrides", NETWORKS.values(), ids=NETWORKS)


def unit_of(*overrides: str) -> Unit:
    unit = plan(tiny_settings()).units[0]
    settings = composed(overrides).config
    return changed(
        unit, **{group: OmegaConf.to_container(settings[group], resolve=True) for group in ("arch", "backbone")}
    )


def files(store: Store, kind: str) -> dict[str, bytes]:
    return {
        f"{place.name} {file.name}": file.read_bytes()
        for found, place, _ in store.artifacts()
        if found == kind
        for file in place.iterdir()
        if file.suffix in (".npy", ".safetensors")
    }


def full(*_: object) -> Tensor:
    raise torch.OutOfMemoryError("out of memory, injected")


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step of a training is out of memory unless its activations are computed again."""
    usual = Pretraining.training_step

    def step(self: Pretraining, *args) -> Tensor:
        return usual(self, *args) if frugal(self.arch.backbone) else full()

    monkeypatch.setattr(Pretraining, "training_step", step)


def frugal(backbone: Backbone) -> bool:
    # Convolutions may have another forward for another reason (`forwards.contained`).
    blocks = (module for module in backbone.modules() if not isinstance(module, nn.Conv2d))
    return any("forward" in vars(module) for module in blocks)


@pytest.mark.slow
@every_network
def test_a_training_out_of_memory_computes_again_to_the_same_weights(
    overrides: tuple[str, ...], tmp_path: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    unit, ample, little = unit_of(*overrides), Store(tmp_path / "ample"), Store(tmp_path / "little")
    make(unit, ample, Silent())
    request.getfixturevalue("starved")
    make(unit, little, Silent())
    assert "target: out of memory; trained in less (activations computed again), slower, same method" in caplog.text
    for kind in ("encoders", "statistics"):
        assert files(little, kind) == files(ample, kind) != {}


def test_still_out_of_memory_names_the_setting_and_leaves_no_encoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit, store = unit_of(*NETWORKS["joint"]), Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("lpla.encoders.arch.simclr.SimCLR.loss", full)
        with pytest.raises(
            InputError, match=r"^train\.batch_size must be smaller than 10 on this device, whose memory"
        ):
            make(unit, store, Silent())
    assert store.find("encoders", unit.encoder_parts) is None
    assert make(unit, store, Silent()).trained


@pytest.mark.slow
@every_network
def test_computed_again_keeps_less_and_counts_a_batch_once(overrides: tuple[str, ...]) -> None:
    arch, same = (unit_of(*overrides).source.build().train() for _ in range(2))
    usual, (output, state) = kept_bytes(arch), step(same)
    with recomputed(arch):
        less = kept_bytes(arch)
        arch.load_state_dict(unit_of(*overrides).source.build().state_dict())
        again, state_again = step(arch)
    assert less < 0.6 * usual
    assert all(torch.equal(a, b) for a, b in zip(output, again, strict=True))
    assert all(torch.equal(state[name], state_again[name]) for name in state)
    assert not frugal(arch.backbone)


def step(arch: Arch) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Feature, gradients and running statistics of one forward and backward pass of the backbone."""
    arch.zero_grad()
    feature = arch.backbone(images())
    feature.square().sum().backward()
    gradients = [p.grad for p in arch.backbone.parameters() if p.grad is not None]
    assert gradients
    return [feature, *gradients], {name: value.clone() for name, value in arch.backbone.state_dict().items()}


def kept_bytes(arch: Arch) -> int:
    """What a forward pass keeps for the backward pass, parameters aside."""
    own = {p.untyped_storage().data_ptr() for p in arch.parameters()}
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        if (where := x.untyped_storage().data_ptr()) not in own:
            kept[where] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        feature = arch.backbone(images())
    assert feature.requires_grad
    return sum(kept.values())


def images() -> Tensor:
    return torch.rand(16, 1, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("most", [17, 1])
def test_an_extraction_out_of_memory_takes_smaller_chunks_to_the_same_bits(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unit, ample, little = unit_of(*NETWORKS["joint"]), Store(tmp_path / "ample"), Store(tmp_path / "little")
    expected = make(unit, ample, Silent())
    usual, asked = observe.answers, []

    def answers(arch: Arch, views: tuple[Tensor, ...], query: Query, side: int, door: Door) -> dict[str, Tensor]:
        asked.append(len(views[0]) // query.queries)
        return full() if asked[-1] > most else usual(arch, views, query, side, door)  # pyright: ignore[reportReturnType]

    monkeypatch.setattr(observe, "answers", answers)
    made = make(unit, little, Silent())
    assert "cpu is out of memory: observe.batch_size halved to 80 views, same results" in caplog.text
    assert asked[:2] == [40, 20] and made.forwards == expected.forwards
    assert files(little, "statistics") == files(ample, "statistics") != {}


def test_no_room_for_one_image_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit, store = unit_of(*NETWORKS["joint"]), Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(observe, "answers", full)
        room = "cpu has no room for the views of one image and a forward pass of 64"
        with pytest.raises(InputError, match=rf"^observe\.batch_size cannot be made smaller than 1, but {room}$"):
            make(unit, store, Silent())
    assert make(unit, store, Silent()).observed == 6

"""What holds of mocov3, swav, dino and mae alike: they train, on both kinds of backbone, and resume bit for bit."""

import math
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from safetensors.torch import load, save
from slow_step import CONF, build, fixed_views
from torch import Tensor

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import Views
from lpla.data.dataset.digits import Digits
from lpla.training.config import TrainConfig
from lpla.training.pretraining import train

SMALL_VIT = ("backbone=vit_micro", "backbone.width=16", "backbone.depth=2")
SMALL_RESNET = ("backbone.width=0.125",)
HEADS = ("arch.hidden_dim=16", "arch.output_dim=8")
LOCAL = ("arch.crops.local_views=2",)
BUILDS = {
    "mocov3": ("mocov3", *SMALL_RESNET, *HEADS),
    "swav": ("swav", *SMALL_RESNET, *HEADS),
    "dino": ("dino", *SMALL_RESNET, *HEADS),
    "swav local": ("swav", *SMALL_RESNET, *HEADS, *LOCAL, "arch.frozen_prototypes=0.4"),
    "dino local per view": (
        "dino",
        "arch.batch_norm=per_view",
        *SMALL_RESNET,
        *HEADS,
        *LOCAL,
        "arch.warmup=0.6",
        "arch.frozen_last_layer=0.3",
    ),
    "mocov3 per view": ("mocov3", *SMALL_RESNET, *HEADS, "arch.batch_norm=per_view"),
    "mocov3 vit": ("mocov3", *SMALL_VIT, *HEADS),
    "swav vit": ("swav", *SMALL_VIT, *HEADS),
    "dino vit": ("dino", *SMALL_VIT, *HEADS, *LOCAL, "arch.crops.local_size=4"),
    "mae": ("mae", *SMALL_VIT[1:]),
    "mae token": ("mae", *SMALL_VIT[1:], "backbone.pooling=token"),
}
every_build = pytest.mark.parametrize("overrides", BUILDS.values(), ids=BUILDS)
TRAINER = partial(
    pl.Trainer,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)


def on_digits(arch: Arch) -> list[float]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        views = instantiate(compose("config").dataset.train_views, _convert_="all")
    pixels = Digits().load().pixels[:40]
    return train(arch, pixels, torch.arange(40).numpy(), TrainConfig(2, 20, views, 7), TRAINER, [])


@pytest.mark.slow
@pytest.mark.parallel
@every_build
def test_training_on_digits_depends_on_the_seed_alone(overrides: tuple[str, ...]) -> None:
    arch, again, initial = (build(*overrides, channels=1) for _ in range(3))
    torch.manual_seed(1)
    losses = on_digits(arch)
    torch.manual_seed(2)
    assert losses == on_digits(again)
    assert len(losses) == 2 and all(map(math.isfinite, losses))
    assert_same(arch, again)
    trained = [name for name, p in arch.named_parameters() if p.requires_grad or name.startswith("slow")]
    moved = [name for name in trained if not torch.equal(arch.get_parameter(name), initial.get_parameter(name))]
    assert len(moved) > 0.9 * len([n for n in trained if not n.endswith(("pos_embed", "net.mask_token"))])


@pytest.mark.slow
@pytest.mark.parallel
@every_build
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32)])
def test_every_layer_is_a_vector_per_image(overrides: tuple[str, ...], channels: int, side: int) -> None:
    arch = build(*overrides, channels=channels)
    images = fixed_views(side, images=5, channels=channels)[0].float()
    arch.loss([images] * len(arch.views(Views())), 0.0).backward()
    embeddings = arch.eval().encode(images)
    assert tuple(embeddings) == type(arch).layers
    assert all(e.ndim == 2 and len(e) == 5 and e.isfinite().all() for e in embeddings.values())


@every_build
def test_every_trained_parameter_has_a_gradient(overrides: tuple[str, ...]) -> None:
    # One without would stop distributed training.
    arch = build(*overrides).double()
    arch.loss(fixed_views(*[8] * len(arch.views(Views()))), 0.9).backward()
    assert not [name for name, p in arch.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.slow
@pytest.mark.parallel
@every_build
def test_resuming_in_the_middle_changes_no_bit(overrides: tuple[str, ...]) -> None:
    whole = build(*overrides)
    steps(whole, optimizer_of(whole), range(6))
    half = build(*overrides)
    before = optimizer_of(half)
    steps(half, before, range(3))
    torch.manual_seed(99)
    resumed = build(*overrides, seed=1)
    # Through the store's own format, which refuses tensors that share memory.
    resumed.load_state_dict(load(save({k: v.contiguous() for k, v in half.state_dict().items()})))
    after = optimizer_of(resumed)
    after.load_state_dict(before.state_dict())
    steps(resumed, after, range(3, 6))
    assert_same(whole, resumed)


def optimizer_of(arch: Arch) -> torch.optim.Optimizer:
    return arch.optimization.optimizer((p for p in arch.parameters() if p.requires_grad), lr=0.01)


def steps(arch: Arch, optimizer: torch.optim.Optimizer, which: range) -> None:
    sides = [8] * len(arch.views(Views()))
    for step in which:
        optimizer.zero_grad()
        arch.loss([view.float() for view in fixed_views(*sides, seed=step)], step / 6).backward()
        optimizer.step()


def assert_same(arch: Arch, other: Arch) -> None:
    states: list[dict[str, Tensor]] = [arch.state_dict(), other.state_dict()]
    assert states[0].keys() == states[1].keys()
    assert not [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]


@pytest.mark.parametrize("name", ["mocov3", "swav", "dino"])
def test_the_released_feature_of_a_transformer_is_not_normalised(name: str) -> None:
    arch = build(name, *SMALL_VIT, *HEADS).eval()
    images = fixed_views(8)[0].float()
    feature = arch.encode(images)["backbone"]
    assert torch.equal(feature, arch.get_submodule("backbone")(images))
    norms = feature.norm(dim=1)
    assert norms.std() > 1e-4 * norms.mean()

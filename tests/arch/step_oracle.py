"""What every step oracle shares: a narrow framework of its own yaml, fixed views, and the comparison over three steps.

An oracle is Lightly's example for a method, under its names, with copies of our modules and ordinary batch norm.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from lpla.contracts.encoder import Arch
from lpla.work.plug_in import plug_in

CONF = Path(__file__).parents[2] / "conf"
STEPS = 3
TOLERANCE = 1e-9  # absolute, in double precision; the largest difference seen is 6e-13
LIGHTLYS_NAMES = {
    "projector": "projection_head",
    "predictor": "prediction_head",
    "slow_backbone": "backbone_momentum",
    "slow_projector": "projection_head_momentum",
}

Network = Callable[[Tensor], Tensor]
Forward = Callable[[Network, Tensor, Tensor], tuple[Tensor, ...]]


def framework(name: str, *overrides: str, channels: int = 3, seed: int = 0) -> Arch:
    """A framework as its yaml describes it, on the smallest ResNet."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"arch={name}", "backbone=resnet9", "backbone.width=0.125", *overrides])
    torch.manual_seed(seed)
    backbone = plug_in(OmegaConf.to_container(config.backbone), partial=True)(channels)  # pyright: ignore[reportArgumentType]
    return plug_in(OmegaConf.to_container(config.arch), partial=True)(backbone)  # pyright: ignore[reportArgumentType]


def narrow(name: str, *overrides: str) -> Arch:
    """The same with narrow heads, in double precision: in single, three steps enlarge rounding beyond any tolerance."""
    return framework(name, "arch.hidden_dim=24", "arch.output_dim=12", *overrides).double()


def fixed_views(step: int) -> tuple[Tensor, Tensor]:
    """Two views of 8 images; the second one brighter, so that the views' batch statistics differ."""
    generator = torch.Generator().manual_seed(100 + step)
    x0, x1 = torch.rand(2, 8, 3, 16, 16, generator=generator, dtype=torch.float64)
    return x0, 0.5 + x1


def two_forwards(network: Network, x0: Tensor, x1: Tensor) -> tuple[Tensor, ...]:
    """Lightly's examples: each view alone."""
    return network(x0), network(x1)


def one_forward(network: Network, x0: Tensor, x1: Tensor) -> tuple[Tensor, ...]:
    """Both views at once: batch norm over their concatenation."""
    return network(torch.cat([x0, x1])).chunk(2)


MODES: dict[str, Forward] = {"per_view": two_forwards, "joint": one_forward}


def compare(ours: Arch, oracle: nn.Module, loss: Callable[[Tensor, Tensor, int], Tensor], progress: float) -> None:
    """Three SGD steps of both: loss and gradients each time; at the end weights, slow copies, statistics and banks."""
    optimizers = [torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.1) for m in (ours, oracle)]
    for step in range(STEPS):
        views = fixed_views(step)
        got, expected = ours.loss(views, step * progress), loss(*views, step)
        torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)
        for optimizer, value in zip(optimizers, (got, expected), strict=True):
            optimizer.zero_grad()
            value.backward()
        assert_equal({k: p.grad for k, p in ours.named_parameters()}, {k: p.grad for k, p in oracle.named_parameters()})
        for optimizer in optimizers:
            optimizer.step()
    # Everything that a checkpoint of ours keeps; Lightly's own checkpoint lacks the banks.
    assert_equal(ours.state_dict(), dict(oracle.named_parameters()) | dict(oracle.named_buffers()))
    assert {lightlys(name) for name in ours.state_dict()} >= oracle.state_dict().keys()


def lightlys(name: str) -> str:
    """Lightly's name for a tensor of ours."""
    head, _, rest = name.partition(".")
    return f"{LIGHTLYS_NAMES.get(head, head)}.{rest}"


def assert_equal(ours: Mapping[str, Tensor | None], oracle: Mapping[str, Tensor | None]) -> None:
    """Each tensor of ours is Lightly's."""
    for name, got in ours.items():
        expected = oracle[lightlys(name)]
        if got is None or expected is None:
            assert got is expected, name
        else:
            note = partial("{}: {}".format, name)
            torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE, msg=note)

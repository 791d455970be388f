"""What the step oracles of mocov3, swav, dino and mae share: building ours, and the comparison with the slow one."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from lpla.contracts.encoder import Arch, Backbone
from lpla.work.plug_in import plug_in

CONF = Path(__file__).parents[1] / "conf"
TOLERANCE = 1e-9  # in double precision; the issue asks for 1e-5
NARROW = ("backbone.width=0.125", "arch.hidden_dim=24", "arch.output_dim=12")


def build(name: str, *overrides: str, channels: int = 3, seed: int = 0) -> Arch:
    """A framework as its yaml describes it, with the weights of `seed`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", [f"arch={name}", *overrides]), resolve=True)
    assert isinstance(config, dict)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return plug_in(config["arch"], partial=True)(plug_in(config["backbone"], partial=True)(channels))


def backbone_of(arch: Arch) -> Backbone:
    """A copy for the slow one, which trains it too."""
    backbone = arch.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    return deepcopy(backbone)


def fixed_views(*sides: int, images: int = 6, channels: int = 3, seed: int = 0) -> list[Tensor]:
    """Views in double precision, each brighter than the last, so that their batch statistics differ."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(images, channels, side, side) for side in sides]
    return [torch.rand(s, generator=generator, dtype=torch.float64) + 0.3 * v for v, s in enumerate(shapes)]


def apply_slowly(network: Callable[[Tensor], Tensor], views: Sequence[Tensor], batch_norm: str) -> list[Tensor]:
    """Each view alone, or (joint) the two global views together and then the local ones together."""
    if batch_norm == "per_view":
        return [network(view) for view in views]
    parts = [views] if views[0].shape == views[-1].shape else [views[:2], views[2:]]
    return [z for part in parts for z in network(torch.cat(list(part))).split(len(views[0]))]


def move_slowly(fast: nn.Module, slow: nn.Module, momentum: float) -> None:
    """Exponential moving average, parameter by parameter."""
    with torch.no_grad():
        for name, parameter in slow.named_parameters():
            parameter.copy_(momentum * parameter + (1 - momentum) * fast.get_parameter(name))


def assert_same_step(
    ours: Arch, views: Sequence[Tensor], progress: float, expected: Tensor, pairs: Mapping[str, nn.Module]
) -> None:
    """Loss, gradients and all state after the step, for modules of ours by name and the oracle's."""
    got = ours.loss(views, progress)
    got.backward()
    expected.backward()
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)
    compared = 0
    for name, slow in pairs.items():
        module = ours.get_submodule(name)
        assert module.state_dict().keys() == slow.state_dict().keys()
        for key, value in module.state_dict().items():
            torch.testing.assert_close(value, slow.state_dict()[key], rtol=0, atol=TOLERANCE)
        for key, parameter in module.named_parameters():
            gradient = slow.get_parameter(key).grad
            assert (parameter.grad is None) == (gradient is None), f"{name}.{key}"
            if gradient is not None:
                torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=TOLERANCE)
                compared += 1
    assert compared == sum(p.grad is not None for p in ours.parameters())

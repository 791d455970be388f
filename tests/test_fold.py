"""Folding: every framework and backbone answers as it did, without a batch norm, and is itself again afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from tiny_audit import CONF
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lpla.contracts.encoder import Arch
from lpla.encoders.fold_batch_norm import folded
from lpla.encoders.forwards import contained
from lpla.work.plug_in import plug_in

CASES = [[f"{group}={file.stem}"] for group in ("arch", "backbone") for file in sorted((CONF / group).glob("*.yaml"))]
CASES += [["arch=byol", "arch.batch_norm=per_view"]]


def framework(overrides: list[str]) -> Arch:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings: Any = OmegaConf.to_container(compose("config", overrides), resolve=True)
    return plug_in(settings["arch"], partial=True)(plug_in(settings["backbone"], partial=True)(3))


def settle(network: nn.Module, forward: Callable[[], object]) -> None:
    """In evaluation mode, with batch norms that do something and have learnt what they are given."""
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.momentum = 0.9
            for parameter in norm.parameters(recurse=False):
                nn.init.uniform_(parameter, 0.5, 1)
    network.train()
    forward()
    network.eval()


def executed(network: nn.Module, forward: Callable[[], object]) -> tuple[object, list[nn.Module]]:
    """What it answers, and the modules of `network` that worked for it."""
    modules: list[nn.Module] = []
    hooks = [m.register_forward_hook(lambda module, *_: modules.append(module)) for m in network.modules()]
    answer = forward()
    for hook in hooks:
        hook.remove()
    return answer, modules


@pytest.mark.parametrize("overrides", CASES, ids=" ".join)
@torch.no_grad()
def test_every_network_answers_as_before_and_without_batch_norms(overrides: list[str]) -> None:
    torch.manual_seed(0)
    arch = framework(overrides)
    settle(arch, lambda: arch.encode(torch.rand(16, 3, 8, 8)))
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        arch.to(dtype)
        images = torch.rand(4, 3, 8, 8, dtype=dtype)
        expected = arch.encode(images)
        with folded(arch, lambda images=images: arch.encode(images[:1])):
            found, modules = executed(arch, lambda images=images: arch.encode(images))
        assert not [m for m in modules if isinstance(m, _BatchNorm)]
        assert isinstance(found, dict) and list(found) == list(expected)
        for layer, embedding in expected.items():
            assert embedding.std(dim=0).norm() > 100 * tolerance * embedding.norm()
            assert (found[layer] - embedding).norm() <= tolerance * embedding.norm()


def test_afterwards_it_is_what_it_was_even_if_something_failed() -> None:
    arch = framework(["arch=byol"])
    modules, weights = list(arch.named_modules()), {k: v.clone() for k, v in arch.state_dict().items()}
    with pytest.raises(KeyError), folded(arch.eval(), lambda: arch.encode(torch.zeros(1, 3, 8, 8))):
        assert list(arch.named_modules()) != modules
        raise KeyError
    assert list(arch.named_modules()) == modules
    assert all(torch.equal(weights[name], tensor) for name, tensor in arch.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in arch.modules())


class Stubborn(nn.Module):
    """No norm of it may be folded, except the last: of a sum, after ReLU in place, of a layer used twice, by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(4)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(4, affine=i != 3) for i in range(5)])
        self.free = nn.BatchNorm1d(4, track_running_stats=False)
        self.weight_norm = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        l0, l1, l2, l3 = self.layers
        n0, n1, n2, n3, n4 = self.norms
        x = n0(l0(x) + x)
        x = n1(F.relu_(l1(x)))
        x = n2(l2(l2(x)))
        x = n4(self.weight_norm(self.free(x.repeat(2, 1))))
        return n3(l3(x))


@torch.no_grad()
def test_only_a_layers_very_output_is_folded() -> None:
    torch.manual_seed(0)
    network, x = Stubborn().double(), torch.randn(6, 4, dtype=torch.float64)
    settle(network, lambda: network(x))
    expected, before = executed(network, lambda: network(x))
    with folded(network, lambda: network(x)):
        found, within = executed(network, lambda: network(x))
    assert isinstance(found, Tensor) and isinstance(expected, Tensor)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    norms = [m for m in before if isinstance(m, _BatchNorm)]
    assert [m for m in within if isinstance(m, _BatchNorm)] == [n for n in norms if n is not network.norms[3]]


def test_a_forward_in_place_of_a_layers_own_does_not_hide_what_was_folded_into_it() -> None:
    """An encoder is observed at the end of its training, where narrow convolutions have a forward of their own."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 16, 1, stride=2, bias=False), nn.BatchNorm2d(16)).eval()
    norm, x = network[1], torch.rand(2, 8, 6, 6)
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(1, 3)
    expected = network(x)
    with contained(network, torch.device("cpu")):
        assert "forward" in vars(network[0])
        with folded(network, lambda: network(x)):
            torch.testing.assert_close(network(x), expected)

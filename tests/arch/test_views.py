"""Batch norm over views: per view it is one forward for each, written out; joint it is left alone."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from lpla.encoders.arch._views import PerViewBatchNorm, set_batch_norm


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5))
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net.double()


def normalised(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Batch norm by its formula, one channel after the other."""
    out = torch.empty_like(x)
    for c in range(x.shape[1]):
        values = x[:, c].flatten()
        mean = values.sum() / len(values)
        variance = ((values - mean) ** 2).sum() / len(values)
        out[:, c] = (x[:, c] - mean) / (variance + 1e-5).sqrt() * weight[c] + bias[c]
    return out


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 3)])
def test_each_view_is_normalised_by_itself(views: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    plain = nn.BatchNorm2d(3) if len(shape) == 4 else nn.BatchNorm1d(3)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    norm = PerViewBatchNorm(deepcopy(plain.double()), views)
    parts = [torch.randn(shape, dtype=torch.float64) * (v + 1) + v for v in range(views)]
    expected = torch.cat([normalised(part, plain.weight, plain.bias) for part in parts])
    torch.testing.assert_close(norm(torch.cat(parts)), expected)
    for part in parts:
        plain(part)
    torch.testing.assert_close(dict(norm.named_buffers()), dict(plain.named_buffers()))


def test_a_network_per_view_is_one_forward_for_each() -> None:
    plain, both = network(), network()
    set_batch_norm(both, "per_view", views=2)
    x0, x1 = torch.randn(2, 6, 2, 4, 4, dtype=torch.float64)
    got, expected = both(torch.cat([x0, 3 * x1])), torch.cat([plain(x0), plain(3 * x1)])
    torch.testing.assert_close(got, expected)
    got.square().sum().backward()
    expected.square().sum().backward()
    for ours, oracle in zip(both.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, oracle.grad)
    torch.testing.assert_close(both.state_dict(), plain.state_dict())
    assert not torch.allclose(got, network()(torch.cat([x0, 3 * x1])))


def test_in_evaluation_it_is_ordinary_batch_norm() -> None:
    plain, both = network(), network()
    set_batch_norm(both, "per_view", views=2)
    x = torch.randn(5, 2, 4, 4, dtype=torch.float64)
    assert torch.equal(both.eval()(x), plain.eval()(x))
    assert torch.equal(deepcopy(both)(x), plain(x))


def test_joint_replaces_nothing() -> None:
    net = network()
    before = list(net.modules())
    set_batch_norm(net, "joint", views=2)
    assert list(net.modules()) == before

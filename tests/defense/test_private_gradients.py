"""The clipped sum of groups: against a loop, its sensitivity by brute force, what is refused, and its noise."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from private import difference, framework, gradient, norm, trained, views
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError
from lpla.encoders.defense._frameworks import GROUP_SIZE, group_size_for, replace_batch_norms
from lpla.encoders.defense._groups import clipped_sum, noise, sampled
from lpla.encoders.forwards import contained, forwards

GROUPED = {"simclr": 4, "mocov3": 4, "barlowtwins": 4, "vicreg": 4, "byol": 1, "simsiam": 1}
REFUSED = {"moco": "queue", "nnclr": "queue", "dino": "running mean", "swav": "prototypes"}
CLIP = 0.05


def summed(arch: Arch, seen: list[Tensor], size: int, clip: float = CLIP) -> dict[str, Tensor]:
    """The framework stays as it was."""
    return clipped_sum(deepcopy(arch), seen, 0.3, size, clip)[0]


def slowly(arch: Arch, seen: list[Tensor], size: int, clip: float) -> dict[str, Tensor]:
    """The same by a loop over the groups."""
    total = {name: torch.zeros_like(one) for name, one in trained(arch).items()}
    for start in range(0, len(seen[0]), size):
        found = gradient(arch, [one[start : start + size] for one in seen])
        factor = min(1.0, clip / norm(found))
        for name, one in found.items():
            total[name] += factor * one
    return total


@pytest.mark.parametrize(("name", "size"), GROUPED.items())
def test_the_sum_is_that_of_a_loop_over_the_groups(name: str, size: int) -> None:
    arch = framework(name)
    seen = views(arch, 9 * size)  # more groups than are held at once
    for clip in (1e6, CLIP):
        slow = slowly(arch, seen, size, clip)
        assert difference(summed(arch, seen, size, clip), slow) < 1e-4 * norm(slow)


@pytest.mark.parametrize("name", ["mocov3", "byol"])
def test_slow_copies_move_once_a_step_whatever_the_images(name: str) -> None:
    arch = framework(name)
    size, seen = GROUPED[name], views(arch, 4 * GROUPED[name])
    once, more, none = deepcopy(arch), deepcopy(arch), deepcopy(arch)
    once.loss([one[:4] for one in seen], 0.3)
    clipped_sum(more, seen, 0.3, size, CLIP)
    clipped_sum(none, [one[:0] for one in seen], 0.3, size, CLIP)
    states = [one.state_dict() for one in (once, more, none, arch)]
    assert all(torch.equal(states[0][name], states[i][name]) for name in states[0] for i in (1, 2))
    assert any(not torch.equal(states[0][name], states[3][name]) for name in states[0])


@pytest.mark.parametrize(("name", "size"), [*GROUPED.items(), ("mae", 1), ("byol", 3)])
def test_another_image_moves_the_sum_by_twice_the_clip_at_most(name: str, size: int) -> None:
    """Brute force: every image in turn is black, white, or noise in all its views; and the bound is nearly reached."""
    arch, most = framework(name), 0.0
    seen, clip = views(arch, 3 * size), 1e-3  # far below the gradients' norms: every group is clipped
    before = summed(arch, seen, size, clip)
    for image in range(0, len(seen[0]), size):
        for other in (torch.zeros(1, 8, 8), torch.ones(1, 8, 8), torch.randn(1, 8, 8)):
            changed = [one.clone() for one in seen]
            for one in changed:
                one[image] = other
            most = max(most, difference(before, summed(arch, changed, size, clip)))
    assert 0.3 * clip < most <= 2 * clip


def clipped_by_image(arch: Arch, seen: list[Tensor], temperature: float, clip: float) -> dict[str, Tensor]:
    """NT-Xent of the whole batch: each image's two terms, in whose denominators all images stand, are clipped."""
    z = normalize(arch.projector(arch.backbone(torch.cat(seen))), dim=1)
    like = (z @ z.T / temperature).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    terms = cross_entropy(like, torch.arange(len(z)).roll(len(seen[0])), reduction="none").view(2, -1).sum(0)
    total = {name: torch.zeros_like(one) for name, one in trained(arch).items()}
    for term in terms:
        parts = torch.autograd.grad(term, list(trained(arch).values()), retain_graph=True)
        found = dict(zip(trained(arch), parts, strict=True))
        for name, one in found.items():
            total[name] += min(1.0, clip / norm(found)) * one
    return total


def test_clipping_image_by_image_does_not_bound_an_image_where_images_are_compared() -> None:
    """The fault that groups guard against: among images that are much alike, one that is not turns all gradients."""
    arch, clip = framework("simclr", "arch.temperature=0.1"), 1e-3
    seen = [one[:1] + 0.002 * one for one in views(arch, 12)]
    seen[1] = seen[0][:1] + 0.002 * seen[1]
    changed = [torch.cat([one[:1], seen[i][1:]]) for i, one in enumerate(views(arch, 1, seed=5))]
    moved = difference(clipped_by_image(arch, seen, 0.1, clip), clipped_by_image(arch, changed, 0.1, clip))
    assert moved > 4 * clip
    assert difference(summed(arch, seen, 4, clip), summed(arch, changed, 4, clip)) <= 2 * clip


def test_batch_norm_would_carry_images_past_the_clip_and_is_replaced() -> None:
    arch = framework("simclr", norms=True)
    with pytest.raises(InputError, match=r"defense=dp cannot train arch=simclr, whose loss torch\.func\.vmap refuses"):
        summed(arch, views(arch, 8), 4)
    count = sum(isinstance(one, torch.nn.modules.batchnorm._BatchNorm) for one in arch.modules())
    weights = [id(one) for one in arch.parameters()]
    assert replace_batch_norms(arch) == count > 0
    assert [id(one) for one in arch.parameters()] == weights
    assert not [name for name, _ in arch.named_buffers()]


def test_a_slow_copy_s_group_norm_takes_no_gradient() -> None:
    arch = framework("byol")
    assert not any(one.requires_grad for one in arch.get_submodule("slow_backbone").parameters())


def test_what_training_put_in_the_place_of_a_forward_is_not_met() -> None:
    """Compiled backbones, which torch.func cannot see into, and convolutions that change the order of memory."""
    arch = framework("simclr")
    seen = views(arch, 8)
    with forwards({arch.backbone: lambda x: pytest.fail("it was called")}):
        found = summed(arch, seen, 4)
    assert difference(found, summed(arch, seen, 4)) == 0
    with contained(arch, torch.device("cpu")):
        arch.to(memory_format=torch.channels_last)
        assert difference(found, summed(arch, seen, 4)) < 1e-5


def test_a_gradient_that_is_not_finite_counts_as_none() -> None:
    arch = framework("simclr")
    seen = views(arch, 8)
    broken = [one.clone() for one in seen]
    broken[0][0] = torch.nan
    assert difference(summed(arch, broken, 4), summed(arch, [one[4:] for one in seen], 4)) < 1e-6


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_a_framework_that_needs_other_groups_images_is_refused(name: str, why: str) -> None:
    with pytest.raises(InputError, match=f"arch={name}: .*{why}.* no epsilon would hold"):
        group_size_for(framework(name), None)


def test_clipping_single_images_of_a_comparing_loss_is_refused() -> None:
    for name in ("simclr", "mocov3", "barlowtwins", "vicreg"):
        assert group_size_for(framework(name), None) == GROUP_SIZE
        with pytest.raises(InputError, match=r"at least 2 .* the epsilon would be wrong"):
            group_size_for(framework(name), 1)
    assert [group_size_for(framework(name), None) for name in ("byol", "simsiam", "mae")] == [1, 1, 1]
    assert group_size_for(framework("byol"), 5) == 5


def test_every_image_is_drawn_by_a_coin_of_its_own() -> None:
    drawn = [sampled(40, 10, 7, step) for step in range(2000)]
    chosen = np.array([np.bincount(one, minlength=40) for one in drawn])
    assert chosen.max() == 1 and (sampled(40, 10, 7, 5) == drawn[5]).all() and len(sampled(40, 40, 0, 0)) == 40
    assert chosen.mean() == pytest.approx(0.25, abs=0.01) and abs(np.corrcoef(chosen[:, 0], chosen[:, 1])[0, 1]) < 0.1
    assert chosen.sum(axis=1).std() == pytest.approx((40 * 0.25 * 0.75) ** 0.5, rel=0.1)  # and no fixed number
    first = np.array([one[0] for one in drawn if len(one)])
    assert first.mean() == pytest.approx(19.5, abs=1)  # groups are cut from a random order


def test_the_noise_has_the_deviation_that_is_stated_and_follows_from_seed_and_step() -> None:
    shapes = {"a": torch.Size([300, 100]), "b": torch.Size([5000])}
    one, again = dict(noise(shapes, 0.7, 3, 11)), dict(noise(shapes, 0.7, 3, 11))
    values = torch.cat([part.flatten() for part in one.values()])
    assert float(values.std()) == pytest.approx(0.7, rel=0.02) and abs(float(values.mean())) < 0.02
    assert all(torch.equal(one[name], again[name]) for name in shapes)
    for seed, step in [(3, 12), (4, 11)]:
        assert not torch.equal(one["b"], dict(noise(shapes, 0.7, seed, step))["b"])

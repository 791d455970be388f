"""Near-duplicates: what counts as one, known answers on real photographs, and that only one of a group is drawn."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lpla.contracts.inputs import Images, InputError
from lpla.data.dataset.digits import Digits
from lpla.data.dataset.torchvision import Torchvision
from lpla.data.split import _duplicates
from lpla.data.split._duplicates import CROWD, FAR, _similar, duplicate_groups
from lpla.data.split._hashes import content_groups, look_hashes
from lpla.data.split.balanced import Balanced
from lpla.data.split.disjoint import Disjoint

TOGETHER = {"near_duplicates": "keep_together"}
Change = Callable[[np.ndarray], np.ndarray]


def images(pixels: np.ndarray | torch.Tensor) -> Images:
    pixels = torch.as_tensor(pixels)
    return Images("test", pixels, torch.zeros(len(pixels), dtype=torch.long))


@pytest.fixture(scope="module")
def cifar100(cifar100_root: Path) -> Images:
    return Torchvision(name="cifar100", root=str(cifar100_root)).load()


@pytest.fixture(scope="module")
def photographs(cifar100: Images) -> Iterator[np.ndarray]:
    """The first 500 images of CIFAR-100, among which there are no copies."""
    pixels = cifar100.pixels[:500].numpy()
    assert len(np.unique(duplicate_groups(images(pixels)))) == 500
    yield pixels


def test_exact_copies_in_cifar100(cifar100: Images) -> None:
    train, test = content_groups(cifar100.pixels[:50_000]), content_groups(cifar100.pixels[50_000:])
    assert len(np.unique(train)) == 49_986
    assert len(np.unique(test)) == 9_998
    whole = content_groups(cifar100.pixels)
    assert len(np.intersect1d(whole[:50_000], whole[50_000:])) == 10


def test_near_copies_in_cifar100(cifar100: Images) -> None:
    _duplicates._FOUND.clear()
    start = time.monotonic()
    group = duplicate_groups(cifar100)
    # 3 to 4 seconds on one core; the bound only tells a search of all pairs.
    assert time.monotonic() - start < 30
    sizes = np.bincount(group)
    assert (sizes > 1).sum() == 143
    assert (sizes[sizes > 1] - 1).sum() == 147
    exact = content_groups(cifar100.pixels)
    assert (group == group[exact]).all()


def test_digits_have_none_so_that_their_draws_are_those_of_a_plain_permutation() -> None:
    digits = Digits().load()
    drawn = Balanced(**TOGETHER).draw(digits, 100, 4, 3)
    assert drawn.duplicate_groups == 0 and len(drawn.aside) == 0
    assert np.array_equal(drawn.index, np.random.default_rng([3, 0]).permutation(1797)[:200])
    plain = Balanced(near_duplicates="ignore").draw(digits, 100, 4, 3)
    assert plain.duplicate_groups is None
    assert np.array_equal(plain.inside, drawn.inside) and np.array_equal(plain.index, drawn.index)


def brighter(pixels: np.ndarray) -> np.ndarray:
    # By 20 levels, of which those near white lose a part.
    return np.minimum(pixels, 235) + np.uint8(20)


def recompressed(pixels: np.ndarray) -> np.ndarray:
    def one(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(file, "JPEG", quality=85)
        return np.asarray(Image.open(file)).transpose(2, 0, 1)

    return np.stack([one(image) for image in pixels])


def cropped(pixels: np.ndarray) -> np.ndarray:
    # Half a pixel at each side is lost, the rest is enlarged again.
    def one(image: np.ndarray) -> np.ndarray:
        side = image.shape[1]
        inner = (0.5, 0.5, side - 0.5, side - 0.5)
        resized = Image.fromarray(image.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC, inner)
        return np.asarray(resized).transpose(2, 0, 1)

    return np.stack([one(image) for image in pixels])


def contrast(factor: float) -> Change:
    def change(pixels: np.ndarray) -> np.ndarray:
        mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
        return np.clip(np.round((pixels - mean) * factor + mean), 0, 255).astype(np.uint8)

    return change


def darker(pixels: np.ndarray) -> np.ndarray:
    return (pixels * 0.7).round().astype(np.uint8)


def mirrored(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., ::-1])


CHANGES = [
    (brighter, 0.95),
    (recompressed, 0.9),
    (cropped, 0.75),
    (darker, 0.95),
    (contrast(0.6), 0.95),
    (contrast(1.3), 0.95),
    (mirrored, 0.99),
    (lambda pixels: contrast(0.8)(mirrored(pixels)), 0.95),
    (lambda pixels: recompressed(mirrored(pixels)), 0.9),
]


@pytest.mark.parametrize(("change", "least"), CHANGES)
def test_changed_copies_are_found(photographs: np.ndarray, change: Change, least: float) -> None:
    count = len(photographs)
    group = duplicate_groups(images(np.concatenate([photographs, change(photographs)])))
    found = (group[count:] == np.arange(count)).mean()
    strangers = (group[count:] != np.arange(count)) & (group[count:] != np.arange(count, 2 * count))
    assert found >= least
    assert not strangers.any()


def test_flat_images_are_no_copies_of_each_other() -> None:
    random = np.random.default_rng(0)
    shades = np.arange(0, 250)[:, None, None, None]
    noisy = (shades + random.integers(0, 5, (250, 3, 32, 32))).astype(np.uint8)
    flat = np.broadcast_to(shades, (250, 3, 32, 32)).astype(np.uint8)
    for pixels in (noisy, flat):
        assert len(np.unique(duplicate_groups(images(pixels)))) == 250
    assert len(np.unique(duplicate_groups(images(np.zeros((50, 1, 4, 4), dtype=np.uint8))))) == 1


def blank(kind: str) -> np.ndarray:
    """8,000 pictures that are nearly blank: of a colour each, or white with a speck of dirt."""
    random, count = np.random.default_rng(0), 8000
    if kind == "one colour":
        return np.broadcast_to(random.integers(0, 256, (count, 3, 1, 1), dtype=np.uint8), (count, 3, 32, 32)).copy()
    pixels = np.full((count, 3, 32, 32), 250, dtype=np.uint8)
    places = random.integers(0, 32, (2, count))
    pixels[np.arange(count), :, *places] -= random.integers(1, 9, (count, 3), dtype=np.uint8)
    return pixels


@pytest.mark.parametrize("kind", ["one colour", "a speck"])
def test_nearly_blank_images_are_compared_by_their_bytes_and_cost_no_more_than_others(kind: str) -> None:
    pixels = blank(kind)
    start = time.process_time()
    group = duplicate_groups(images(pixels))
    # .3 seconds on one core, as of noise; each with each took 7 to 26.
    assert time.process_time() - start < 3
    assert np.array_equal(group, content_groups(torch.from_numpy(pixels)))


def test_a_crowd_of_one_look_costs_no_more_than_its_number() -> None:
    crowd = np.full(3000, 5, dtype=np.uint64)
    pairs = np.concatenate(list(_similar(crowd, crowd)), axis=1)
    assert pairs.shape[1] <= 3000 * CROWD
    assert len(np.unique(pairs.T, axis=0)) == pairs.shape[1]


def test_the_stills_of_a_film_are_one_group() -> None:
    still = np.random.default_rng(1).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    film = np.repeat(still, 3000, axis=0)
    film[:, 0, 0, 0] = np.arange(3000) % 256
    film[:, 0, 0, 1] = np.arange(3000) // 256
    assert (duplicate_groups(images(film)) == 0).all()


@given(st.integers(0, 2**32), st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_all_pairs_of_similar_hashes_are_found(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    look = random.choice(random.integers(0, 2**64, 4, dtype=np.uint64), count)
    for _ in range(8):
        look ^= np.uint64(1) << random.integers(0, 64, count, dtype=np.uint64)
    other = random.permutation(look)
    for two in (look, other):
        slow = {(i, j) for j in range(count) for i in range(j) if (int(look[i]) ^ int(two[j])).bit_count() <= FAR}
        pairs = [(int(i), int(j)) for found in _similar(look, two) for i, j in found.T]
        assert set(pairs) == slow and len(pairs) == len(slow)


@pytest.mark.parametrize("side", [8, 28, 32, 96])
def test_the_look_is_that_of_the_image_resized(side: int) -> None:
    from scipy.fft import dctn
    from torchvision.transforms.functional import resize, rgb_to_grayscale

    pixels = torch.randint(0, 256, (20, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    grey = resize(rgb_to_grayscale(pixels.float()), [32, 32], antialias=True)[:, 0].numpy()
    low = np.asarray(dctn(grey, axes=(1, 2), norm="ortho"))[:, :8, :8].reshape(20, 64)
    slow = [sum(int(bit) << (63 - at) for at, bit in enumerate(one > np.median(one[1:]))) for one in low]
    look, mirror = look_hashes(pixels)
    assert np.bitwise_count(mirror ^ look_hashes(pixels.flip(3))[0]).max() <= 2
    distance = np.bitwise_count(look ^ np.array(slow, dtype=np.uint64))
    # Luma weights of four digits move a coefficient across the median now and then.
    assert distance.max() <= 2


@given(st.integers(2, 20), st.integers(1, 4), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_a_pool_never_holds_two_of_a_group(members: int, pairs: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    distinct = random.integers(0, 256, (4 * members, 1, 8, 8), dtype=np.uint8)
    pixels = distinct[random.permutation(np.repeat(np.arange(4 * members), random.integers(1, 4, 4 * members)))]
    group = duplicate_groups(images(pixels))
    for split in (Balanced(**TOGETHER), Disjoint(**TOGETHER)):
        drawn = split.draw(images(pixels), members, 2 * pairs, seed)
        assert len(np.unique(group[drawn.index])) == len(drawn.index)
        assert len(np.intersect1d(drawn.index, drawn.aside)) == 0
        assert len(drawn.aside) == len(pixels) - 4 * members
        outside = np.setdiff1d(np.arange(len(pixels)), np.union1d(drawn.index, drawn.aside))
        assert not np.isin(group[outside], group[drawn.index]).any()
        assert (drawn.inside.sum(axis=1) == members).all()
        more = split.draw(images(pixels), members, 2 * pairs + 2, seed)
        assert np.array_equal(more.index, drawn.index)
        assert np.array_equal(more.inside[: 2 * pairs + 1], drawn.inside)


def test_any_of_a_group_may_stand_for_it() -> None:
    pixels = np.repeat(np.random.default_rng(0).integers(0, 256, (8, 1, 8, 8), dtype=np.uint8), 2, axis=0)
    first = [(Balanced(**TOGETHER).draw(images(pixels), 4, 2, seed).index % 2).mean() for seed in range(200)]
    assert abs(np.mean(first) - 0.5) < 0.05


def test_bad_settings() -> None:
    pixels = np.repeat(np.random.default_rng(0).integers(0, 256, (30, 1, 8, 8), dtype=np.uint8), 2, axis=0)
    with pytest.raises(InputError, match=r"split.near_duplicates must be keep_together or ignore, got 'together'"):
        Balanced(near_duplicates="together")  # pyright: ignore[reportArgumentType]
    limit = r"members must be at least 2 and at most 15, half of the 30 images of test that are left without 30 near-"
    with pytest.raises(InputError, match=limit):
        Balanced(**TOGETHER).draw(images(pixels), 16, 2, 0)
    assert len(Balanced(near_duplicates="ignore").draw(images(pixels), 16, 2, 0).index) == 32

"""Random streams: by name, the first edition's as they were, and none of the others like any of them."""

import re
from itertools import combinations

import numpy as np
import pytest
import torch
from tiny_audit import ROOT

from lpla.contracts.inputs import STREAMS, Images, stream, stream_seed
from lpla.data.split.balanced import Balanced
from lpla.data.split.disjoint import Disjoint

HISTORY = {
    "pool": [7, 0], "target": [7, 1], "shadows": [7, 2], "utility": [7, 3], "known non-members": [7, 4],
    "labels": [7, 5], "transform check": [7, 6], "batches": 7, "held-out images": 7, "mixture sample": 7,
    "resamples": 7, "standard normal draws": 7, "whitening sample": 7,
}  # fmt: skip


@pytest.mark.parametrize("name", HISTORY)
def test_a_stream_of_the_first_edition_has_its_numbers(name: str) -> None:
    assert set(HISTORY) == set(STREAMS)
    assert stream(name, 7).random() == np.random.default_rng(HISTORY[name]).random()


def test_numbers_that_tell_streams_of_one_purpose_apart_come_last() -> None:
    assert stream("shadows", 7, 3).random() == np.random.default_rng([7, 2, 3]).random()
    assert stream("batches", 2**62, 3).random() == np.random.default_rng([2**62, 3]).random()


def test_a_new_name_shares_its_stream_with_no_other() -> None:
    named = [("permuted membership", i) for i in range(4)] + [("permuted membership",), ("another",), ("another", 0)]
    first = [stream(name, 0, *more).random() for name, *more in named]
    first += [
        stream(name, 0, *more).random() for name in ("pool", "target", "shadows", "utility") for more in [(), (1,)]
    ]
    assert all(a != b for a, b in combinations(first, 2))
    assert stream("another", 0, 2).random() == stream("another", 0, 2).random()
    assert stream("another", 5).random() == np.random.default_rng(stream_seed("another", 5)).random()


def test_no_permutation_is_the_order_of_the_pool_or_a_row() -> None:
    # What permutation 1 of seed s was: the stream [s, 1], the target's own row.
    for name in ("pool", "target"):
        row = stream(name, 3).permutation(40)
        assert not any((stream("permuted membership", 3, i).permutation(40) == row).all() for i in range(20))
    assert (np.random.default_rng([3, 1]).permutation(40) == stream("target", 3).permutation(40)).all()


def test_no_stream_is_numbered_by_hand() -> None:
    for folder in ("src", "experiments"):
        for file in (ROOT / folder).rglob("*.py"):
            if file.name != "inputs.py":
                assert not re.search(r"default_rng\(\[", file.read_text()), file


@pytest.mark.parametrize("split", [Balanced, Disjoint])
@pytest.mark.parametrize("rule", ["keep_together", "ignore"])
def test_unseen_is_everything_outside_the_pool_that_is_no_near_duplicate(split: type, rule: str, twins: Images) -> None:
    drawn = split(near_duplicates=rule).draw(twins, 5, 2, 0)
    expected = [i for i in range(len(twins)) if i not in {*drawn.index.tolist(), *drawn.aside.tolist()}]
    assert drawn.unseen.tolist() == expected and len(expected) > 0
    assert (len(drawn.aside) > 0) == (rule == "keep_together")


@pytest.fixture
def twins() -> Images:
    """60 noisy images, ten of them there twice."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 1, 16, 16), dtype=np.uint8)
    pixels[50:] = pixels[:10]
    return Images("twins", torch.from_numpy(pixels), torch.zeros(60, dtype=torch.int64))

"""The table of faults and nulls, on a few noisy images: what a null is there for it notices, and nothing else."""

import numpy as np
import pytest
import torch

from experiments import null_power
from experiments.null_power import Fault, groups, look
from lpla.contracts.encoder import Encoder
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Views
from lpla.data.image_features import image_features


class Flat(Encoder):
    """Answers with the pixels."""

    layers = ("backbone",)

    def encode(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"backbone": x.flatten(1)}


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(null_power, "POOL", 300)
    monkeypatch.setattr(null_power, "REPEATS", {50: 3, 100: 3})
    return np.random.default_rng(0).integers(0, 256, (300, 3, 16, 16), dtype=np.uint8)


def test_each_fault_is_noticed_by_its_null(pixels: np.ndarray) -> None:
    query = Query(Views(flip=0.5), 2, 0)
    plain = look(Flat(), pixels, query)
    same = image_features(np.concatenate([pixels, pixels]))
    assert Fault(plain, plain, plain, *same).power == " | ".join(["0.00 0.00"] * 4)
    turned = look(Flat(), pixels, query, lambda views: views.flip(2))
    assert Fault(plain, turned, plain, *same).power == "0.00 0.00 | 0.00 0.00 | 1.00 1.00 | 0.00 0.00"
    dark = null_power.brighter(0.5)(pixels)
    darker = look(Flat(), dark, query)
    both = image_features(np.concatenate([pixels, dark]))
    assert Fault(plain, darker, darker, *both).power == "1.00 1.00 | 1.00 1.00 | 0.00 0.00 | 1.00 1.00"


def test_skewed_groups_share_no_image_and_differ_by_as_much_as_is_said(pixels: np.ndarray) -> None:
    skewed = np.arange(len(pixels)) % 2 == 0
    index, member = groups(100, 0, skewed)
    assert len(set(index)) == 200 and member.sum() == 100
    assert (skewed[index[member]].mean(), skewed[index[~member]].mean()) == (0.6, 0.4)


def test_stored_faults_change_the_images_and_nothing_changes_none(pixels: np.ndarray) -> None:
    for name, alter in null_power.STORED.items():
        if alter is None:
            continue
        other = alter(pixels)
        assert other.shape == pixels.shape and other.dtype == np.uint8
        assert np.array_equal(other, pixels) == (name == "nothing"), name

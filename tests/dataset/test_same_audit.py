"""A folder of PNGs and a tensor of the same pixels are the same data: equal content, equal keys, equal scores."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_audit import scores_of

from lpla.auditing.job import audit
from lpla.auditing.plan import plan
from lpla.auditing.utility import measure_utility
from lpla.contracts.inputs import Dataset, Images, Views
from lpla.data.dataset.torchvision import Torchvision
from lpla.store.artifacts import Store, key_of
from lpla.work.plug_in import load_images
from lpla.work.progress import Progress
from lpla.work.unit import make

Settings = Callable[..., Any]
VIEWS = Views(crop_scale=(0.5, 1.0), crop_ratio=(0.75, 1.33), flip=0.5, jitter=0.8, brightness=0.4, hue=0.1)


class Tensor(Dataset):
    """The pixels of a file, in memory."""

    def __init__(self, *, file: str) -> None:
        self.file = file

    def load(self) -> Images:
        with np.load(self.file) as saved:
            return Images("tensor", torch.from_numpy(saved["pixels"]), torch.from_numpy(saved["labels"]))


@pytest.fixture(scope="module")
def photographs(cifar100_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the first classes of CIFAR-100, as PNGs in one folder per class and as arrays in the same order."""
    root = tmp_path_factory.mktemp("photographs")
    whole = Torchvision(name="cifar100", root=str(cifar100_root), part="train").load()
    chosen = torch.cat([(whole.labels == label).nonzero()[:50, 0] for label in range(6)])
    for number, index in enumerate(chosen.tolist()):
        file = root / "png" / f"{whole.labels[index]}" / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(whole.pixels[index].permute(1, 2, 0).numpy()).save(file)
    np.savez(root / "tensor.npz", pixels=whole.pixels[chosen].numpy(), labels=whole.labels[chosen].numpy())
    return root


def overrides(root: Path, kind: str) -> list[str]:
    views = [f"dataset.{which}_views.{name}={json.dumps(value)}" for which in ("train", "query")
             for name, value in vars(VIEWS).items()]  # fmt: skip
    if kind == "imagefolder":
        folder = ["dataset=imagefolder", "dataset.size=32", f"data.root={root / 'png'}", f"data.cache={root / 'cache'}"]
        return folder + views
    return [f"+dataset.file={root / 'tensor.npz'}", f"dataset._target_={Tensor.__module__}.Tensor", *views]


def test_the_same_content_and_keys(photographs: Path, tiny_settings: Settings) -> None:
    folder, tensor = (plan(tiny_settings(*overrides(photographs, kind), "shadows=2")) for kind in ("imagefolder", "x"))
    one, other = (load_images(work.units[0].dataset) for work in (folder, tensor))
    assert torch.equal(one.pixels, other.pixels) and torch.equal(one.labels, other.labels)
    assert one.digest == other.digest
    assert len(one) == 300
    for a, b in zip(folder.units, tensor.units, strict=True):
        assert key_of(a.encoder_parts) == key_of(b.encoder_parts)
        for x, y in zip(a.observations, b.observations, strict=True):
            assert key_of(a.statistic_parts(x, x.statistics[0])) == key_of(b.statistic_parts(y, y.statistics[0]))


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
def test_the_same_scores_from_separate_stores(photographs: Path, tmp_path: Path, tiny_settings: Settings) -> None:
    rows, scores = [], []
    for kind in ("imagefolder", "tensor"):
        (tmp_path / kind).mkdir()
        config = tiny_settings(*overrides(photographs, kind), "shadows=2", f"store={tmp_path / kind / 'store'}")
        rows.append([vars(row) for row in audit(config, tmp_path / kind)])
        scores.append(scores_of(tmp_path / kind))
    for one, other in zip(*rows, strict=True):
        differ = {name for name in one if one[name] != other[name]}
        assert differ <= {"seconds", "dataset", "data"}
    assert all(np.array_equal(scores[0][name], scores[1][name]) for name in ("index", "member", "score"))


def test_a_folder_without_classes_audits_without_utility(
    photographs: Path, tmp_path: Path, tiny_settings: Settings, silent: Progress
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sorted((photographs / "png").rglob("*.png"))[:60]:
        (flat / file.name).write_bytes(file.read_bytes())
    settings = [*overrides(photographs, "imagefolder"), f"data.root={flat}", f"data.cache={tmp_path / 'cache'}"]
    work = plan(tiny_settings(*settings, "shadows=2"))
    store = Store(tmp_path / "store")
    assert make(work.units[0], store, silent).trained
    utility = measure_utility(work, store, "backbone")
    assert utility["knn_accuracy"] is None and utility["utility_images"] == 0 and utility["embedding_spread"] > 0

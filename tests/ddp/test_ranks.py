"""Two and three real gloo ranks: losses, gradients and state of one process, bitwise the same statistics."""

from pathlib import Path

import numpy as np
import on_ranks
import pytest
import torch
from on_ranks import EXTRACTIONS, FRAMEWORKS, SIZES, Trained
from torch import Tensor
from torch.multiprocessing.spawn import spawn

pytestmark = pytest.mark.slow

TOLERANCE = 1e-9  # relative and absolute, in double precision


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the ranks left; they are started once, as their imports cost seconds."""
    folder = tmp_path_factory.mktemp("ranks")
    spawn(on_ranks.work, (folder,), nprocs=max(SIZES))
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> list[dict[str, Trained]]:
    """By rank of two and by framework."""
    loaded = [torch.load(folder / f"2-{rank}" / "trained", weights_only=True) for rank in range(2)]
    return [{name: Trained(**found) for name, found in one.items()} for one in loaded]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_two_ranks_train_what_one_process_trains(name: str, trained: list[dict[str, Trained]]) -> None:
    alone, first, second = on_ranks.train(name), *(one[name] for one in trained)
    for step in range(on_ranks.STEPS):
        torch.testing.assert_close(first.losses[step], alone.losses[step], rtol=TOLERANCE, atol=TOLERANCE)
        same(first.gradients[step], alone.gradients[step])
        assert any(gradient.abs().max() > 1e-3 for gradient in alone.gradients[step].values())
    same(first.state, alone.state)
    # Weights, slow copies, queues, centres, prototypes and running statistics, to the bit.
    assert first.state.keys() == second.state.keys()
    assert [key for key in first.state if not torch.equal(first.state[key], second.state[key])] == []


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for key in found:
        torch.testing.assert_close(
            found[key], expected[key], rtol=TOLERANCE, atol=TOLERANCE, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_what_a_framework_keeps_still_has_no_gradient_on_ranks(name: str, trained: list[dict[str, Trained]]) -> None:
    first, *_, last = trained[0][name].gradients
    assert len(first) < len(last)


def test_ranks_whose_clocks_differ_keep_the_state_after_the_same_epochs(folder: Path) -> None:
    # By rank 0's clock 12 and 24 seconds after the start; by rank 1's never.
    assert [torch.load(folder / f"2-{rank}" / "kept epochs") for rank in range(2)] == [[2, 4], [2, 4]]


@pytest.mark.parametrize("name", EXTRACTIONS)
@pytest.mark.parametrize("size", SIZES)
def test_ranks_find_the_statistics_of_one_process(size: int, name: str, folder: Path, tmp_path: Path) -> None:
    images, batch_size = EXTRACTIONS[name]
    alone = on_ranks.observe(on_ranks.encoder(), images, batch_size, tmp_path / "alone")
    assert alone.result is not None
    files = sorted(file.name for file in (tmp_path / "alone").iterdir())
    assert len(files) == 6 + 2  # what was sent, too
    for file in files:
        expected, found = (np.load(place / file) for place in (tmp_path / "alone", folder / f"{size}-0" / name))
        assert len(found) == images and np.array_equal(found, expected, equal_nan=True)
    counts = [torch.load(folder / f"{size}-{rank}" / f"{name} counts") for rank in range(size)]
    assert counts[0][0] == alone.forwards == images * (1 + 5)
    assert counts[0][1] == {layer: (o.zero, o.nonfinite) for layer, o in alone.result.items()}
    for rank in range(1, size):
        assert counts[rank][1] == {} and list((folder / f"{size}-{rank}" / name).iterdir()) == []

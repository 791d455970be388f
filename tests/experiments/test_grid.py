"""What a grid takes: its jobs by Hydra's rules, the encoders it shares, and which grid is chosen."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_audit import TINY, Ran, Silent

from experiments import _reproduce
from experiments._grid import jobs, look_ahead
from experiments._origin import origin
from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store
from lpla.work.unit import make


def test_the_command_line_replaces_an_experiments_axes() -> None:
    found = jobs(
        [
            "experiment=table3_small",
            "arch=simclr,byol",
            "dataset=digits",
            "experiment/contender=bank",
            "seed=3",
            "p=1,2",
            "knowledge.kind=shadows,known_nonmembers",
        ]
    )
    swept = [dict(one.split("=") for one in job) for job in found]
    assert len(swept) == 2 * 2 * 2 and {one["experiment"] for one in swept} == {"table3_small"}
    assert {(one["arch"], one["knowledge.kind"], one["p"]) for one in swept} == {
        (arch, kind, p) for arch in ("simclr", "byol") for kind in ("shadows", "known_nonmembers") for p in "12"
    }
    assert {(one["seed"], one["dataset"], one["experiment/contender"]) for one in swept} == {("3", "digits", "bank")}


@pytest.mark.slow
@pytest.mark.parallel
def test_the_jobs_are_those_that_hydra_runs(cli: Callable[..., Ran]) -> None:
    overrides = [
        "experiment=tradeoff_small",
        *(one for one in TINY if not one.startswith("members=")),
        "members=5000",  # what only the data tells: every job fails by itself
        "arch=simclr",
        "backbone=resnet9",
        "epochs=1,2",
        "seed=0,1",
        "experiment/contender=bank",
    ]
    ran = cli(*overrides)
    numbers = sorted(int(file.parent.name) for file in ran.folder.glob("*/result.json"))
    assert ran.code == 1 and numbers == list(range(4)) == list(range(len(jobs(overrides))))
    for number, job in enumerate(jobs(overrides)):
        used = (ran.folder / str(number) / ".hydra" / "overrides.yaml").read_text().splitlines()
        assert {line.removeprefix("- ") for line in used} == set(job)


def test_shared_and_finished_encoders_are_counted_once_and_failures_said(
    tmp_path: Path, tiny: Callable[..., Plan], silent: Silent
) -> None:
    store = [f"store={tmp_path}", f"data.root={tmp_path}"]
    grid = ["experiment=table3_small", *TINY, *store, "arch=simclr", "seed=0,1", "knowledge.kind=shadows"]
    said: list[str] = []
    ahead = look_ahead(
        [[*grid, "dataset=digits,cifar100,cifar10", "experiment/contender=lpla_published,rmia", "queries=1,2"]],
        said.append,
    )
    assert (ahead.needed, ahead.missing) == (10, 10) and ahead.seconds > 0
    assert len(said) == 1 and "20 images of Digits" in said[0]
    assert [sentence.partition(" needs")[0] for sentence in ahead.impossible] == ["dataset=cifar100", "dataset=cifar10"]
    # Another configuration than the experiment's, but the same encoders.
    crops = [f"dataset.{which}_views.crop_scale=[0.6,1.0]" for which in ("train", "query")]
    make(tiny(*crops, "data.root=elsewhere").units[1], Store(tmp_path), silent)
    assert (again := look_ahead([[*grid, "dataset=digits", "experiment/contender=bank"]], said.append)).missing == 9
    assert again.needed == 10 and not again.impossible


@pytest.mark.parametrize(("gpu", "grid"), [(True, "table3"), (False, "table3_small")])
def test_without_a_gpu_the_small_grid_is_taken_and_said(
    gpu: bool, grid: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(_reproduce.torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(_reproduce.torch.cuda, "get_device_name", lambda: "a GPU")
    assert _reproduce.choose_grid("table3", ["seed=0"]) == grid
    assert ("the full grid, on a GPU" if gpu else "no CUDA GPU was found, so the small grid") in capsys.readouterr().out
    assert _reproduce.choose_grid("table3", ["experiment=table3"]) == "table3"
    with pytest.raises(InputError, match="experiment must be given once, got experiment=table3 and experiment=size"):
        _reproduce.choose_grid("table3", ["experiment=table3", "experiment=size"])


@pytest.mark.parametrize(("codes", "begun", "code"), [((0, 1, 0), 3, 1), ((0, 143, 0), 2, 143), ((0, 0, 0), 3, 0)])
def test_a_sweep_that_was_stopped_is_the_last_and_one_with_failed_jobs_is_not(
    codes: tuple[int, ...], begun: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    monkeypatch.setattr(_reproduce, "_sweep", lambda sweep: told.append(sweep) or codes[len(told) - 1])
    assert _reproduce._sweep_all([["seed=0"], ["seed=1"], ["seed=2"]], Path("here")) == code
    assert told == [[f"seed={seed}", "hydra.sweep.dir=here"] for seed in range(begun)]


@pytest.mark.parametrize("ended", [2, 4])
def test_what_a_stopped_run_left_says_how_much_of_the_grid_it_is(
    ended: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def sweep(overrides: list[str]) -> int:
        folder = Path(overrides[-1].removeprefix("hydra.sweep.dir="))
        for number in range(ended + 1):
            (folder / str(number)).mkdir(parents=True)
        for number in range(ended):
            (folder / str(number) / "result.json").write_text("[]")
        return 0 if ended == 4 else 143

    def render(folder: Path) -> list[Path]:
        (folder / "told.md").write_text(origin(folder, []))
        return [folder / "told.md"]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_reproduce, "_announce", lambda sweeps: None)
    monkeypatch.setattr(_reproduce, "_sweep", sweep)
    axes = ["experiment=tradeoff_small", "seed=0,1", "arch=simclr", "backbone=resnet9", "epochs=2"]
    code = _reproduce.reproduce("tradeoff", render, [*axes, "experiment/contender=bank,lpla_whitened"])
    mark = "This is a part of the run: 2 of its 4 jobs are here."
    (told,) = tmp_path.glob("outputs/*/told.md")
    assert (code, mark in told.read_text(), mark in capsys.readouterr().out) == (
        (0, False, False) if ended == 4 else (143, True, True)
    )
    # A folder of which nobody noted the grid says nothing of it.
    assert told.read_text().removeprefix(mark).strip().startswith("python run.py -m")
    (told.parent / "grid.json").unlink()
    assert origin(told.parent, []).startswith("python run.py -m")

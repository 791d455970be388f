"""The work unit: idempotent, the same from a file, its keys exactly what the artifacts depend on."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_audit import TINY, Ran, Silent, source_of

from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.store import provenance
from lpla.store.artifacts import Store, key_of
from lpla.work import keys
from lpla.work.recipe import Unit
from lpla.work.unit import load_observed, make


def test_a_unit_is_made_once(tiny: Callable[..., Plan], tmp_path: Path, silent: Silent) -> None:
    unit, store = tiny().units[0], Store(tmp_path)
    made = make(unit, store, silent)
    assert (made.trained, made.observed, made.forwards) == (True, 6, 40 * (1 + 4) + 20 * 4 + 60)
    assert sum(silent.tasks["target: training on 20 images"]) == 2
    assert sum(silent.tasks["target: 4 views of 40 images"]) == 40
    again = make(unit, store, silent)
    assert (again.trained, again.observed, again.forwards) == (False, 0, 0)


def test_observing_an_encoder_from_the_store_gives_the_bits_of_the_one_just_trained(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    unit, store = tiny().units[1], Store(tmp_path)
    make(unit, store, silent)
    fresh = {layer: np.array(load_observed(unit, store, unit.observations[0], layer).values["log_norm"])
             for layer in ("backbone", "projector")}  # fmt: skip
    for kind, place, _ in list(store.artifacts()):
        if kind == "statistics":
            (place / "counts.json").unlink(missing_ok=True)  # which the principal axes have not
    made = make(unit, store, silent)
    assert (made.trained, made.observed) == (False, 3)
    for layer, expected in fresh.items():
        assert np.array_equal(load_observed(unit, store, unit.observations[0], layer).values["log_norm"], expected)


@pytest.mark.slow
@pytest.mark.parallel
def test_a_recipe_survives_its_file_and_its_command_makes_it(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    unit = tiny("p=inf").units[1]
    recipe = tmp_path / "recipe.json"
    unit.save(recipe)
    assert Unit.load(recipe) == unit and Unit.load(recipe).encoder_parts == unit.encoder_parts
    command = [sys.executable, "-m", "lpla.work.unit", str(recipe), str(tmp_path / "store")]
    subprocess.run(command, check=True, timeout=300, cwd=tmp_path)
    assert not make(unit, Store(tmp_path / "store"), silent).trained


def test_a_file_that_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"name": "x"}')
    for path in (tmp_path / "other.json", tmp_path / "absent.json"):
        with pytest.raises(InputError, match="RECIPE must be a file written by an audit"):
            Unit.load(path)


SAME_WEIGHTS = [
    "trainer.precision=32",
    "trainer.precision=auto",
    "+trainer.log_every_n_steps=9",
    "dataset.train_views.size=null",
    "p=1",
    "attack.likelihood=hier",
    "queries=2",
    "observe.batch_size=9",
    "trainer=cpu",
    "layer=backbone",
]
SAME_WEIGHTS += [
    "defense=unit_norm",
    "shadows=6",
    "utility.images=10",
    "dataset.query_views.jitter=0.1",
    "permutations=9",
]
OTHER_WEIGHTS = ["arch=byol", "arch.temperature=0.2", "backbone.width=0.25", "members=21", "epochs=3", "seed=1"]
OTHER_WEIGHTS += [
    "trainer.precision=bf16-mixed",
    "arch.optimization.base_lr=0.07",
    "arch.optimization.optimizer.momentum=0.8",
]
OTHER_WEIGHTS += ["train.batch_size=9", "dataset.train_views.jitter=0.1", "split=disjoint"]


@pytest.mark.parametrize("override", SAME_WEIGHTS + OTHER_WEIGHTS)
def test_an_encoders_key_is_what_its_weights_depend_on(tiny: Callable[..., Plan], override: str) -> None:
    keys = [[key_of(unit.encoder_parts) for unit in plan.units[:5]] for plan in (tiny(), tiny(override))]
    assert (keys[0] == keys[1]) == (override in SAME_WEIGHTS)
    assert len(set(keys[1])) == len(keys[1])


@pytest.mark.parametrize(
    ("override", "same"),
    [
        *[
            (o, True)
            for o in ("p=1", "queries=2", "attack.likelihood=hier", "shadows=6", "trainer=cpu", "layer=backbone")
        ],
        *[(o, False) for o in ("p=7", "queries=9", "defense=unit_norm", "dataset.query_views.jitter=0.1", "seed=1")],
    ],
)
def test_a_statistics_key_is_what_it_depends_on(tiny: Callable[..., Plan], override: str, same: bool) -> None:
    def key(plan: Plan) -> str:
        return key_of(plan.units[1].statistic_parts(pool := plan.encoders.target.observations[0], pool.statistics[0]))

    assert (key(tiny()) == key(tiny(override))) == same


def test_shadows_have_seeds_of_their_own_and_a_longer_training_the_same(tiny: Callable[..., Plan]) -> None:
    seeds = [source_of(unit).regime.seed for unit in tiny().units]
    assert len(set(seeds)) == 5
    assert [source_of(unit).regime.seed for unit in tiny("epochs=9", "members=30").units] == seeds
    assert replace(source_of(tiny().encoders.untrained.unit).regime, epochs=2) == source_of(tiny().units[0]).regime


def test_the_untrained_encoder_is_the_targets_source_without_training(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    plan, store = tiny(), Store(tmp_path)
    target, untrained = plan.units[0].source, plan.encoders.untrained.unit
    assert untrained.source == target.blank() != target and untrained.source.image_epochs() == 0
    assert target.image_epochs() == 40 and not untrained.source.is_made(store)
    make(untrained, store, silent)
    assert untrained.source.is_made(store) and not target.is_made(store)
    kept = load_file(store.path("encoders", key_of(untrained.encoder_parts)) / "weights.safetensors")
    initial = target.build().state_dict()
    assert all(torch.equal(kept[name], value) for name, value in initial.items())


@pytest.mark.slow
@pytest.mark.parallel
def test_a_warm_job_computes_the_parts_of_each_encoders_key_once(
    tiny: Callable[..., Plan], cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*TINY, "permutations=1").code == 0
    seen = []
    usual = keys.trained_defense

    def counted(config: dict) -> object:
        seen.append(config)
        return usual(config)

    monkeypatch.setattr(keys, "trained_defense", counted)
    ran = cli(*TINY, "permutations=1")
    assert ran.out.count(": found") == 6 == len(seen)  # the target, its four shadows, and the untrained one


@pytest.mark.slow
@pytest.mark.parallel
def test_a_row_says_what_trained_its_target_and_what_was_mixed(
    cli: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows() -> list[dict]:
        return json.loads((cli(*TINY, "trainer=cpu", "permutations=1").folder / "result.json").read_text())

    monkeypatch.setattr(provenance, "git_revision", lambda: "first")
    threads = torch.get_num_threads()
    for row in rows():
        assert (row["trained_revision"], row["trained_on"].split(",")[0]) == ("first", "cpu")
        assert row["trained_on"].startswith(f"cpu, {threads} thread")
        assert not any("provenances" in note for note in row["notes"])
    # What is observed by other code than that which trained it.
    (statistic, *_) = (place.parent for place in Path("store/statistics").glob("*/counts.json"))
    shutil.rmtree(statistic)
    monkeypatch.setattr(provenance, "git_revision", lambda: "second")
    for row in rows():
        assert row["trained_revision"] == "first"
        (note,) = [note for note in row["notes"] if "provenances" in note]
        assert note.startswith(f"{row['layer']}: artifacts of several provenances were mixed: git_revision ")
        assert "first" in note and "second" in note and "threads" not in note

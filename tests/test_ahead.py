"""What lies ahead of a command: counted as the job then finds it, shared by a sweep, and nothing is written for it."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra.utils import get_class
from tiny_audit import TINY, TINY_GIVEN, Silent, once, tiny_settings

from lpla.auditing import ahead as counting
from lpla.auditing.ahead import Ahead, ahead
from lpla.auditing.forecast import show
from lpla.auditing.machines import read_machines
from lpla.auditing.plan import Plan
from lpla.contracts.inputs import InputError
from lpla.store.artifacts import Store
from lpla.work import footprint, rehearsal
from lpla.work.footprint import count
from lpla.work.keys import name_of
from lpla.work.unit import make, to_train, views_to_observe

Say = pytest.CaptureFixture[str]


def before(*jobs: Sequence[str]) -> Ahead:
    return ahead([tiny_settings(*job) for job in jobs])


def left(folder: Path) -> dict[str, int]:
    return {str(one): one.stat().st_mtime_ns for one in folder.rglob("*")}


def test_encoders_to_train_and_found_are_those_of_the_job(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    store = f"store={tmp_path / 'store'}"
    found, work = before([store]), tiny()
    assert not (tmp_path / "store").exists()
    real = Store(tmp_path / "store")
    units = (*work.units, work.encoders.untrained.unit)
    assert (found.to_train, found.found, found.refused) == (5, 0, ())
    # Two epochs of two whole batches of ten.
    assert found.samples.total() == 5 * 2 * 20
    assert found.views.total() == sum(views_to_observe(unit, real) for unit in units)
    assert found.disk > 0 and found.training > 0 and found.extraction > 0 and found.judging > 0
    asked = views_to_observe(work.units[0], real)
    make(work.units[0], real, silent)
    half = before([store])
    assert (half.to_train, half.found, half.views.total()) == (4, 1, found.views.total() - asked)
    assert half.disk < found.disk


def test_a_store_that_has_all_is_left_as_it_is(tiny_store: str) -> None:
    folder = Path(tiny_store.partition("=")[2])
    there = left(folder)
    found = before([tiny_store])
    assert (found.to_train, found.found, found.views.total(), found.samples.total()) == (0, 5, 0, 0)
    assert left(folder) == there


def test_a_damaged_encoder_is_to_be_trained_and_stays_where_it_is(
    tiny: Callable[..., Plan], tmp_path: Path, silent: Silent
) -> None:
    make(tiny().units[1], Store(tmp_path), silent)
    (weights,) = tmp_path.glob("encoders/*/weights.safetensors")
    weights.write_bytes(bytes([weights.read_bytes()[0] ^ 1]) + weights.read_bytes()[1:])
    there = left(tmp_path)
    assert before([f"store={tmp_path}"]).to_train == 5 and left(tmp_path) == there


def test_jobs_of_a_sweep_share_what_the_first_of_them_makes(tmp_path: Path) -> None:
    store = f"store={tmp_path / 'store'}"
    one, swept = before([store]), before([store, "p=1"], [store, "p=2"], [store, "queries=2"])
    assert (swept.to_train, swept.found, swept.jobs) == (5, 0, 3) and swept.samples == one.samples
    # p=1 is kept beside 2 in either case, so that no view is asked for twice.
    assert swept.views == one.views and swept.disk == one.disk
    assert before([store], [store, "seed=1"]).to_train == 10


def test_encoders_that_are_there_are_trained_again_for_an_earlier_epoch(
    tiny: Callable[..., Plan], tiny_store: str
) -> None:
    store = Store(tiny_store.partition("=")[2])
    # Along the training the target alone is observed together with its shadows: all units have such a request.
    work = tiny("observe.every=1")
    again = [unit for unit in work.units if any(one.epoch is not None for one in unit.observations)]
    assert again and len(to_train(work.units, store)) == len(again)
    assert before([tiny_store, "observe.every=1"]).to_train == len(again)


def test_a_job_that_would_be_refused_says_so_and_costs_nothing(
    tiny_store: str, tmp_path: Path, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "rates", lambda *_: pytest.fail("timed"))
    given = once(*TINY, f"store={tmp_path / 'none'}", "limits.hours=0.0001")
    with pytest.raises(SystemExit, match="1"):
        show(given)
    said = capsys.readouterr()
    assert "would not begin: " in said.err and "limits.hours is 0.0001" in said.err
    assert "0 to train" in said.out and "time" not in said.out and not (tmp_path / "none").exists()
    show([*TINY, tiny_store])
    assert "encoders   0 to train, 5 found in the store" in (out := capsys.readouterr().out) and "time" not in out


def test_the_command_times_a_throwaway_encoder_once_for_a_sweep(
    tmp_path: Path, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    show(["-m", *TINY, "p=1,2"])
    said = capsys.readouterr()
    assert "5 to train, 0 found in the store of 2 jobs" in said.out and "time here  about " in said.out
    assert said.err.count("timing") == 1 and not list(tmp_path.iterdir())


def test_the_guarantee_of_a_private_training_is_said_before_it(capsys: Say) -> None:
    show(["--untimed", *TINY, "defense=dp", "defense.group_size=2"])
    said = capsys.readouterr().out
    assert re.search(r"^privacy    defense=dp guarantees epsilon \d+\.\d\d at delta .* \(replace one\)$", said, re.M)
    show(["--untimed", *TINY])
    assert "privacy" not in capsys.readouterr().out


def test_each_defence_of_a_training_is_timed_and_a_student_by_the_images_that_it_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seconds = f"store={tmp_path / 'store'}", {"none": 1.0, "weight_decay": 2.0, "distill": 4.0}
    monkeypatch.setattr(
        rehearsal, "seconds_per_epoch", lambda one: seconds[name_of(get_class(one.defense["_target_"]))]
    )
    monkeypatch.setattr(rehearsal, "views_per_second", lambda *_: 1.0)
    student = ["defense=distill", "defense.images=40"]
    found = before([store], [store, "defense=weight_decay"], [store, *student], [store, "defense=noise"])
    rates, _ = counting.rates(found, lambda _: None)
    # Two epochs of five encoders each; noise and a student's teacher are trained as without a defence.
    trained = {kind: found.samples[kind] / rate for kind, rate in rates.items()}
    assert sorted(trained.values()) == [10 * 1.0, 10 * 2.0, 10 * 4.0]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["p=1,2"], "several values to sweep need -m"),
        (["-m", "attac=lpla,bank"], "attac is no setting; did you mean attack?"),
        (["p=1", "p=2"], "p must be given once"),
        (["--bench", "nowhere.json"], "--bench must be a file that `python -m benchmarks --json FILE`"),
    ],
)
def test_a_mistake_is_one_sentence(given: list[str], why: str, capsys: Say) -> None:
    with pytest.raises(SystemExit, match="1"):
        show(given)
    said = capsys.readouterr().err
    assert said.startswith("error: ") and why in said and said.count("\n") == 1


def bench(file: Path, **rows: float) -> Path:
    """A benchmark's file of a CPU: rate and operations of either part."""
    names = {"training": "SimCLR", "extraction": "16 views"}
    found = [
        {"part": part, "case": case, "device": "cpu", "operations": 1e6, "ours": {"median": rows[part]}}
        for part, case in names.items()
    ]
    others = [{"part": "growth", "case": "members", "ours": {"median": 1.0}}]
    machine = {"cpu": "Some CPU", "threads": 2, "gpu": None}
    file.write_text(json.dumps({"machine": machine, "rows": [*others, *found]}))
    return file


def test_another_machine_takes_its_time_by_operations(tiny: Callable[..., Plan], tmp_path: Path, capsys: Say) -> None:
    (machine,) = read_machines(bench(tmp_path / "box.json", training=50.0, extraction=200.0))
    found = before([f"store={tmp_path / 'store'}"])
    network = count(tiny().units[0].source)
    training, views = machine.seconds(found)
    assert training == pytest.approx(found.samples.total() * network.operations / (50 * 1e6))
    assert views == pytest.approx(found.views.total() * network.answering / (200 * 1e6))
    assert 0 < network.answering < network.operations
    show([*TINY, f"store={tmp_path / 'store'}", "--untimed", "--bench", str(tmp_path / "box.json")])
    said = capsys.readouterr().out
    assert "time here  not timed" in said and "on box (Some CPU, 2 threads), by operations of the network" in said


def test_the_time_of_a_given_encoder_is_not_known_and_is_not_said_to_be_none(tmp_path: Path, capsys: Say) -> None:
    """The 460 views of a file read "about 0.0 s one encoder after the other ()", here and on the other machine."""
    script = Path(__file__).parent / "foreign" / "files" / "script.pt"
    target = ["target=exported", f"target.file={script}", "target.run_code=true", "target.normalize=half"]
    lists = ["dataset=digits", "split=balanced", "knowledge.kind=labels", f"store={tmp_path / 'store'}"]
    show([*TINY_GIVEN, *target, *lists, "--bench", str(bench(tmp_path / "box.json", training=50.0, extraction=200.0))])
    said = capsys.readouterr().out
    assert "0 to train" in said and "views      0 " not in said
    assert "time here  not known: views of a given encoder are not timed\n" in said
    assert "not known on box (Some CPU, 2 threads), by operations of the network: views of a given encoder" in said
    assert "about" not in said


def test_the_network_of_many_encoders_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was built once for each encoder of the first job: for 128 shadows that took half a minute."""
    times, real = [], footprint.counted
    monkeypatch.setattr(footprint, "counted", lambda *given: times.append(1) or real(*given))
    found = before([f"store={tmp_path / 'store'}", "shadows=8"])
    assert found.to_train == 9 and len(times) == len(found.networks) == 1


def test_a_file_without_the_parts_is_no_benchmark(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps({"machine": {}, "rows": [{"part": "training", "device": "cpu"}]}))
    with pytest.raises(InputError, match="--bench must be a file"):
        read_machines(file)

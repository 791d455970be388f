"""`exposed.csv`: counts by a loop over targets and images, seeds together, and what a real sweep leaves."""

import csv
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_audit import TINY, Ran

from lpla.report import exposure
from lpla.report.rows import read_rows


def drawn(seed: int, images: int = 30, targets: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    index = random.permutation(50)[:images]
    return index, random.random((targets, images)) < 0.4, random.random((targets, images)) < 0.5


def test_counts_are_those_of_a_loop() -> None:
    index, named, member = drawn(0)
    found = exposure.stable(index, named, member, attack="lpla", layer="backbone")
    for place, row in enumerate(found):
        counts = dict.fromkeys(exposure.COUNTS, 0)
        for target in range(5):
            without = "" if member[target, place] else "_without"
            counts[f"retrainings{without}"] += 1
            counts[f"named{without}"] += int(named[target, place])
        assert row == {"attack": "lpla", "layer": "backbone", "index": index[place]} | counts


def test_a_file_reads_as_it_was_written_and_is_its_owner_s_alone(tmp_path: Path) -> None:
    rows = exposure.stable(*drawn(1), attack="lpla", layer="backbone")
    file = exposure.write(rows, tmp_path)
    assert exposure.read(tmp_path) == rows and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert exposure.read(tmp_path / "elsewhere") == []


def test_seeds_are_added_and_other_settings_are_not(tmp_path: Path) -> None:
    rows, expected = [], {}
    for job, (seed, p) in enumerate([(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (0, 3)]):
        index, named, member = drawn(10 * p + seed)
        (tmp_path / str(job)).mkdir()
        for layer in ("backbone", "projector"):
            rows.append({"job": str(job), "attack": "lpla", "layer": layer, "seed": seed, "p": p, "auc": 0.5})
        both = [
            *exposure.stable(index, named, member, attack="lpla", layer="backbone"),
            *exposure.stable(index, ~named, member, attack="lpla", layer="projector"),
        ]
        exposure.write(both, tmp_path / str(job))
        for one in both:
            sums = expected.setdefault((str(p), one["layer"], one["index"]), np.zeros(4, dtype=int))
            sums += [one[name] for name in exposure.COUNTS]
    found = exposure.over_seeds(rows, tmp_path)
    # A setting of a single seed is told by its job.
    expected = {key: sums for key, sums in expected.items() if key[0] != "3"}
    assert {(one["p"], one["layer"], one["index"]): [one[n] for n in exposure.COUNTS] for one in found} == {
        key: list(sums) for key, sums in expected.items()
    }
    assert {(one["p"], one["seeds"]) for one in found} == {("1", 3), ("2", 2)}


@pytest.mark.slow
@pytest.mark.parallel
def test_a_sweep_over_seeds_leaves_intervals_over_targets_and_stable_exposure(
    cli: Callable[..., Ran], tiny_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So small audits have no threshold of their own, and then no counts: 0 would say that nobody is exposed.
    assert exposure.read(cli(*TINY, tiny_store, "layer=projector").folder) == []
    monkeypatch.setattr("lpla.auditing.named._threshold", lambda known, *_: known and float(np.median(known.score)))
    ran = cli("-m", *TINY, tiny_store, "seed=0,1,2", "layer=projector")
    assert ran.code == 0, ran.out
    rows = read_rows(ran.folder)
    areas = np.array([row["auc"] for row in rows])
    with (ran.folder / "seeds.csv").open() as lines:
        (found,) = csv.DictReader(lines)
    assert found["seeds"] == "3" and float(found["auc_mean"]) == areas.mean()
    assert float(found["auc_low"]) <= areas.mean() <= float(found["auc_high"])
    assert float(found["auc_next_low"]) <= float(found["auc_low"])
    # With 3 targets the next one's interval is twice as wide as that of their mean, where no end is 0 or 1.
    high, further = (float(found[f"auc_{end}"]) for end in ("high", "next_high"))
    assert further == 1 or (further - areas.mean()) / (high - areas.mean()) == pytest.approx(2)
    stable, jobs = exposure.read(ran.folder), [exposure.read(ran.folder / str(job)) for job in range(3)]
    assert sum(one["retrainings"] for one in stable) == sum(one["retrainings"] for job in jobs for one in job)
    assert max(one["retrainings"] + one["retrainings_without"] for one in stable) in (5, 10, 15)
    for job in jobs:
        assert {one["retrainings"] + one["retrainings_without"] for one in job} == {5}
    page = (ran.folder / "report.html").read_text()
    # What is said of single images stays in the files that only their owner reads, and in the pages of the jobs.
    assert "Over the seeds" in page and 'download="exposed.csv"' not in page
    assert 'download="exposed.csv"' in (ran.folder / "0" / "report.html").read_text()

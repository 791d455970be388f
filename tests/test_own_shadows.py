"""Shadows that a user trains: planned by contents, trained by a command, and what an audit makes of them."""

import csv
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_audit import ROOT, wait_for

from lpla.auditing import job
from lpla.auditing.own_shadows import content_of
from lpla.auditing.plan import plan as planned
from lpla.auditing.settings import composed
from lpla.auditing.shadow_training import train
from lpla.auditing.shadows import plan, show
from lpla.contracts.inputs import InputError
from lpla.work.plug_in import _load_images

QUICK = ["observe.queries=4", "queries=3", "permutations=3", "utility.images=60", "targets=one"]
TRAIN = """
import sys
from pathlib import Path

members, out, seed = sys.argv[1:4]
if len(sys.argv) > 4 and sys.argv[4] in out:
    sys.exit("no memory left")
print("seed", seed)
Path(out).with_name("known.txt").write_text(Path(members).read_text())
Path(out).write_text(f"remember:{Path(out).parent.name}")
"""
REMEMBER = '''
from pathlib import Path

import numpy as np
import torch
from PIL import Image


def sums(listing):
    return {int(np.asarray(Image.open(one)).sum()) for one in Path(listing).read_text().split()}


def __getattr__(name):
    """An encoder that remembers the images of a list by their sums: their embeddings are longer."""
    if name.startswith("__"):
        raise AttributeError(name)
    known = sums(f"shadows/{name}/known.txt" if name.startswith("shadow_") else f"{name}.txt")

    def encode(x):
        total = (x * 255).sum(dim=(1, 2, 3)).round().int().tolist()
        length = torch.tensor([1.4 if one in known else 1.0 for one in total])
        # Of each image a level of its own, far larger than what membership adds.
        return (x.flatten(1)[:, :16] + 0.1) * length[:, None] * (1 + 3 * x[:, 0, 0, :1])

    return encode
'''
COMMAND = f"{sys.executable} train.py {{members}} {{out}} {{seed}}"


def settings() -> list[str]:
    """Of the photos in the working directory; whole paths, as a process reads the images of its settings once."""
    here = Path.cwd()
    given = {"size": "8", "cache": here / "cache", "members": here / "in", "nonmembers": here / "out"}
    return [f"{'dataset' if name == 'size' else 'data'}.{name}={value}" for name, value in given.items()]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with 40 images in each of two folders, an encoder that remembers, and what trains one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "remember", raising=False)
    pixels = np.random.default_rng(0).integers(0, 256, (80, 8, 8, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        side = tmp_path / ("in" if number < 40 else "out")
        side.mkdir(exist_ok=True)
        Image.fromarray(image).save(side / f"{number}.png")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "remember.py").write_text(REMEMBER)
    (tmp_path / "target.txt").write_text("\n".join(str(one) for one in (tmp_path / "in").iterdir()))
    (tmp_path / "nobody.txt").write_text("")
    return tmp_path


def table(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "memberships.csv").open() as file:
        return {Path(row["file"]).name: row for row in csv.DictReader(file)}


def test_a_plan_halves_the_candidates_and_says_so_by_content(photos: Path) -> None:
    said = plan(photos / "shadows", ["k=4", *settings()])
    assert "4 shadows of 40 images each" in said[0] and "80 images" in said[0]
    rows = table(photos / "shadows")
    inside = np.array([[int(row[f"shadow_{k}"]) for row in rows.values()] for k in range(1, 5)])
    assert (
        (inside.sum(axis=1) == 40).all() and (inside[0] + inside[1] == 1).all() and (inside[2] + inside[3] == 1).all()
    )
    # Drawn without a look at the lists: about half of each side, not all of one.
    of_members = inside[:, [int(name[:-4]) < 40 for name in rows]].sum(axis=1)
    assert (of_members > 8).all() and (of_members < 32).all()
    for k in range(1, 5):
        listing = (photos / "shadows" / f"shadow_{k}" / "members.txt").read_text().split()
        assert {Path(one).name for one in listing} == {name for name, row in rows.items() if row[f"shadow_{k}"] == "1"}
        assert all(Path(one).is_file() for one in listing)
    for private in ("memberships.csv", "shadow_1/members.txt"):
        assert stat.S_IMODE((photos / "shadows" / private).stat().st_mode) == 0o600
    seeds = json.loads((photos / "shadows" / "plan.json").read_text())["seeds"]
    assert len({*seeds.values()}) == 4 and all(0 <= seed < 2**31 for seed in seeds.values())


def test_the_same_plan_is_written_again_and_another_one_is_refused(photos: Path) -> None:
    plan(photos / "shadows", ["k=2", *settings()])
    before = (photos / "shadows" / "memberships.csv").read_text()
    plan(photos / "shadows", ["k=2", *settings()])
    assert (photos / "shadows" / "memberships.csv").read_text() == before
    swapped = [*settings()[:2], f"data.members={photos / 'out'}", f"data.nonmembers={photos / 'in'}"]
    plan(photos / "swapped", ["k=2", *swapped])
    assert {n: r["shadow_1"] for n, r in table(photos / "swapped").items()} == {
        n: r["shadow_1"] for n, r in table(photos / "shadows").items()
    }
    with pytest.raises(InputError, match="DIR must be a folder without another plan"):
        plan(photos / "shadows", ["k=2", "seed=1", *settings()])


def test_near_duplicates_go_where_their_candidate_goes(photos: Path) -> None:
    content = (photos / "in" / "0.png").read_bytes()
    for number in range(5):
        (photos / "in" / f"copy{number}.png").write_bytes(content + b" " * number)
    (photos / "out" / "mixed.png").write_bytes((photos / "in" / "1.png").read_bytes() + b" ")
    plan(photos / "shadows", ["k=4", *settings()])
    rows = table(photos / "shadows")
    columns = [f"shadow_{k}" for k in range(1, 5)]
    for number in range(5):
        assert [rows[f"copy{number}.png"][one] for one in columns] == [rows["0.png"][one] for one in columns]
    assert {rows[name][one] for name in ("mixed.png", "1.png") for one in columns} == {"0"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["k=3"], "k must be an even number from 2 to 1000, as shadows come in pairs, got 3"),
        (["k=many"], "k must be an even number from 2 to 1000"),
        (["dataset=digits", "members=20"], "shadows are planned on lists of members and non-members, got dataset="),
        (["dataset=given", "data.members=no"], "data.members must be a folder of images or a list"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(photos: Path, told: list[str], said: str) -> None:
    others = [one for one in settings() if one.split("=")[0] not in [mine.split("=")[0] for mine in told]]
    with pytest.raises(InputError, match=said):
        plan(photos / "shadows", [*told, *([] if "dataset=digits" in told else others)])
    assert not (photos / "shadows").exists()


def test_trainings_are_resumed_and_what_failed_says_where_its_log_lies(
    photos: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = photos / "shadows"
    plan(folder, ["k=4", *settings()])
    failing = f"{COMMAND} shadow_3"
    with pytest.raises(InputError, match=r"the training of shadow_3 ended with exit status 1; its log is .*log\.txt"):
        train(folder, failing)
    assert "no memory left" in (folder / "shadow_3" / "log.txt").read_text()
    assert json.loads((folder / "shadow_3" / "training.json").read_text())["exit"] == 1
    first = (folder / "shadow_1" / "encoder").stat().st_mtime_ns
    with pytest.raises(
        InputError, match=r"must be that of the shadows before, as shadow_1 was trained by: .* shadow_3"
    ):
        train(folder, COMMAND)
    (photos / "train.py").write_text(TRAIN.replace("no memory left", "").replace("sys.exit(", "print("))
    capsys.readouterr()
    train(folder, failing)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "shadow_1: found" and said[2].startswith("shadow_3: trained in ")
    assert said[-1] == f"all 4 shadows are trained: set target.shadows={folder}"
    assert (folder / "shadow_1" / "encoder").stat().st_mtime_ns == first
    log, record = ((folder / "shadow_4" / name).read_text() for name in ("log.txt", "training.json"))
    assert f"seed {json.loads(record)['seed']}" in log
    hashes = [row["sha256"] for row in table(folder).values() if row["shadow_4"] == "1"]
    assert json.loads(record)["members"] == content_of(hashes)


def test_what_no_training_can_begin_with_is_one_sentence(photos: Path) -> None:
    folder = photos / "shadows"
    with pytest.raises(InputError, match=r"DIR must be a folder of lpla shadows plan, .* has no plan\.json"):
        train(folder, COMMAND)
    plan(folder, ["k=2", *settings()])
    with pytest.raises(InputError, match=r"--command must have \{members\} and \{out\} in it, .* without \{out\}"):
        train(folder, "train {members}")
    with pytest.raises(InputError, match=r"--command must be words as a shell reads them, .* \(No closing quotation\)"):
        train(folder, "train '{members} {out}")
    with pytest.raises(InputError, match="the training of shadow_1 ended with exit status 127"):
        train(folder, "no_such_program {members} {out}")
    with pytest.raises(InputError, match="the training of shadow_1 left no encoder"):
        train(folder, f"{sys.executable} -c pass {{members}} {{out}}")
    listing = folder / "shadow_1" / "members.txt"
    whole = listing.read_text()
    listing.write_text(whole.partition("\n")[2])
    with pytest.raises(InputError, match=r"members\.txt must name the files of memberships\.csv, but was changed"):
        train(folder, COMMAND)
    listing.write_text(whole)
    Image.new("RGB", (8, 8)).save(Path(whole.split()[0]))
    with pytest.raises(InputError, match=r"1 files are gone or changed since it was planned: .*\.png; bring"):
        train(folder, COMMAND)
    assert not list(folder.glob("*/encoder"))


@pytest.mark.slow
def test_a_signal_ends_the_training_too_and_the_command_line_says_it_in_a_sentence(photos: Path) -> None:
    plan(photos / "shadows", ["k=2", *settings()])
    program = "import sys, time, os; open(sys.argv[2] + '.pid', 'w').write(str(os.getpid())); time.sleep(60)"
    (photos / "sleep.py").write_text(program)
    command = [sys.executable, "-m", "lpla", "shadows", "run", "shadows", "--command"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen([*command, f"{sys.executable} sleep.py {{members}} {{out}}"], env=environment) as running:
        pid = photos / "shadows" / "shadow_1" / "encoder.pid"
        wait_for(lambda: pid.exists() and pid.read_text(), 30)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert not (photos / "shadows" / "shadow_1" / "training.json").exists()
    ran = subprocess.run([*command, "x"], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and ran.stderr.startswith("error: --command must have") and ran.stderr.count("\n") == 1


@pytest.fixture
def trained(photos: Path) -> Callable[..., list]:
    """Overrides -> the rows of an audit of the encoder that remembers the members, with 4 trained shadows."""
    plan(photos / "shadows", ["k=4", *settings()])
    train(photos / "shadows", COMMAND)

    def run(*overrides: str, call: str = "remember:target") -> list:
        given = ["target=python", f"target.call={call}", *QUICK, *settings()]
        return list(job.audit(composed([*given, *overrides]), None))

    return run


def test_shadows_of_the_users_own_teach_each_images_level(trained: Callable[..., list]) -> None:
    own = "target.shadows=shadows"
    (labels,), (both,), (shadows,), (one,) = (
        trained(*more) for more in ([], [own], [own, "knowledge.kind=shadows"], [own, "knowledge.kind=one_shadow"])
    )
    assert [row.knowledge for row in (labels, both, shadows, one)] == [
        "labels", "labels and shadows", "shadows", "one_shadow",
    ]  # fmt: skip
    assert [row.shadows for row in (labels, both, shadows, one)] == [0, 4, 4, 1]
    assert labels.auc < 0.75 and both.auc > 0.95 and shadows.auc > 0.95 and one.auc > 0.9
    for row in (both, shadows, one):
        assert row.verdict.startswith("leaks") and row.null_shadows_auc is not None and row.shadow_image_epochs == 0
        assert "shadows of the user's own" in row.given


def test_an_encoder_that_remembers_nobody_does_not_leak_with_shadows(trained: Callable[..., list]) -> None:
    for more in ([], ["knowledge.kind=shadows"]):
        (row,) = trained("target.shadows=shadows", *more, call="remember:nobody")
        assert row.verdict.startswith("no leak found")


@pytest.mark.usefixtures("trained")
def test_shadows_of_the_users_own_answer_through_the_defence_that_the_attacker_knows() -> None:
    given = ["target=python", "target.call=remember:target", "target.shadows=shadows", *QUICK, *settings()]
    for knows, answers in (("same", "noise.Noise"), ("none", "none.Identity")):
        told = ["knowledge.kind=shadows", "defense=noise", f"knowledge.defense={knows}"]
        target, *shadows = planned(composed([*given, *told])).units
        assert target.defense["_target_"].endswith("noise.Noise") and len(shadows) == 4
        assert all(one.defense["_target_"].endswith(answers) for one in shadows)


def test_shadows_that_do_not_fit_are_refused(photos: Path, trained: Callable[..., list]) -> None:
    folder, own = photos / "shadows", "target.shadows=shadows"
    with pytest.raises(
        InputError, match=r"target.shadows needs a knowledge of shadows, one_shadow, labels, few_labels"
    ):
        trained(own, "knowledge.kind=known_nonmembers")
    with pytest.raises(InputError, match=r"few_labels, got knowledge\.kind=shadows views=strong$"):
        trained(own, "knowledge.kind=shadows", "knowledge.views=strong")
    with pytest.raises(InputError, match=r"target.shadows must be a folder with memberships\.csv, got in, which has"):
        trained("target.shadows=in")
    record = (folder / "shadow_2" / "training.json").read_text()
    (folder / "shadow_2" / "training.json").write_text(record.replace('"exit": 0', '"exit": 7'))
    with pytest.raises(InputError, match=r"the training of shadow_2 ended with exit status 7 .*; lpla shadows run"):
        trained(own)
    (folder / "shadow_2" / "training.json").unlink()
    with pytest.raises(InputError, match="the training of shadow_2 has not ended"):
        trained(own)
    (folder / "shadow_2" / "training.json").write_text(record)
    rows = (folder / "memberships.csv").read_text()
    lines = rows.splitlines()
    flipped = lines[1][:-3] + ("0" if lines[1][-3] == "1" else "1") + lines[1][-2:]
    (folder / "memberships.csv").write_text("\n".join([lines[0], flipped, *lines[2:]]))
    with pytest.raises(InputError, match=r"shadow_3 was trained on other images than memberships\.csv says"):
        trained(own)
    (folder / "memberships.csv").write_text(rows)
    (folder / "shadow_4" / "encoder.bak").write_text("")
    with pytest.raises(InputError, match=r"must hold one file or folder named encoder, .* got encoder, encoder\.bak"):
        trained(own)
    (folder / "shadow_4" / "encoder.bak").unlink()
    (folder / "shadow_4" / "encoder").write_text("remember:target")
    with pytest.raises(InputError, match="shadow_4 must be another encoder than the target"):
        trained(own)
    (folder / "shadow_4" / "encoder").write_text("remember:shadow_1")
    with pytest.raises(InputError, match="shadow_4 must be another encoder than shadow_1, got shadow_1 itself"):
        trained(own)
    (photos / "in" / "0.png").unlink()
    _load_images.cache_clear()
    with pytest.raises(InputError, match=r"1 rows of files that are gone or changed: .*in/0\.png"):
        trained(own)


def test_help_says_how(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        show(["--help"])
    assert "lpla shadows run DIR --command" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        show(["run", "--help"])
    assert "{members}" in capsys.readouterr().out

"""A given encoder by a user's own lists, on real images: a leak, lists that were never in it, unlike lists."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shutil import copytree
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_audit import ROOT, Ran

import lpla
from lpla.auditing.shadows import show
from lpla.data.dataset.torchvision import Torchvision
from lpla.encoders.recognition import misread
from lpla.encoders.target.checkpoint import Checkpoint

PAGE = ROOT / "docs" / "your_encoder.md"
QUICK = ["permutations=5", "observe.queries=4", "layer=backbone"]


def energies(x: torch.Tensor) -> torch.Tensor:
    """An encoder that nobody trained: energies of an image's frequencies, which show how it was compressed."""
    spectrum = torch.fft.rfft2(x.mean(1)).abs().log1p()
    return spectrum.flatten(1)[:, ::8]


@pytest.mark.parametrize("quality", [95, 50])
def test_lists_that_differ_in_compression_alone_are_invalid_and_no_leak(
    quality: int, cifar100_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = Torchvision(name="cifar100", root=str(cifar100_root), download=False).load().pixels[:200]
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        side = "in" if number % 2 else "out"
        (tmp_path / side).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / side / f"{number}.jpg", quality=quality if side == "in" else 95)
    sides = {"members": tmp_path / "in", "nonmembers": tmp_path / "out"}
    (row,) = lpla.audit_encoder(energies, *QUICK, "attack=bank", "dataset.size=32", queries=3, **sides)
    if quality == 95:
        assert row.verdict.startswith("no leak found") and row.excess_auc is None
        return
    assert row.verdict.startswith("invalid: the images differ between the groups")
    assert row.auc is not None and row.auc > 0.6  # what would have been called a leak
    assert row.blind_p is not None and row.blind_p < 0.01
    # The attack on an encoder that nobody trained finds no more than the images say by themselves.
    assert row.excess_auc is not None and row.excess_auc_low is not None and row.excess_auc_low < 0
    assert row.excess_auc == pytest.approx(row.auc - (row.blind_auc or 0))
    assert f"; the attack's AUC less that is {row.excess_auc:+.3f} [" in row.verdict


def test_names_of_files_are_in_the_log_and_in_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        side = tmp_path / ("in" if number % 2 else "out")
        side.mkdir(exist_ok=True)
        Image.fromarray(image).save(side / f"secret{number}.png")
    (tmp_path / "in" / "secret broken.png").write_bytes(b"none")
    lists = {"members": tmp_path / "in.txt", "nonmembers": tmp_path / "out.txt"}
    for (name, place), folder in zip(lists.items(), ("in", "out"), strict=True):
        inside = [str(one) for one in sorted((tmp_path / folder).iterdir())]
        both = [str(tmp_path / "in" / "secret1.png")] if name == "nonmembers" else inside[:1]
        place.write_text("\n".join([*inside, *both]))
    more = ["dataset.size=16", "dataset.on_bad_image=skip", "attack=lpla"]
    with caplog.at_level("INFO"):
        (row,) = lpla.audit_encoder(energies, *QUICK, *more, queries=2, **lists)
    assert "in more than one list: 1 (" in caplog.text and "secret broken.png" in caplog.text
    told = "".join(str(value) for value in asdict(row).values())
    assert "in more than one list: 1" in told and "unreadable: 1" in told and "named again in data.members: 1" in told
    assert "secret" not in told


def blocks() -> tuple[dict[str, str], list[str], list[str]]:
    """The page's files by their names, the commands of its walk-through, and those with shadows: its first blocks."""
    text = PAGE.read_text()
    files = dict(re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL))
    found = [dedent(one) for _, one in re.findall(r"^( *)```bash\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)]
    # The audit stands in a tab of its own, behind what comes before it.
    walk, shadows = (one.replace("\\\n", " ").splitlines() for one in (found[0] + found[1], found[2] + found[3]))
    return files, walk, shadows


@pytest.fixture(scope="module")
def walked(cifar100_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after the page's first two commands: three folders of photographs, and an encoder of one of them."""
    folder = tmp_path_factory.mktemp("walk")
    files, commands, _ = blocks()
    assert set(files) == {"photos.py", "train.py"} and len(commands) == 4
    for name, text in files.items():
        (folder / name).write_text(text)
    for command, more in zip(commands[:2], ([str(cifar100_root)], []), strict=True):
        program, *arguments = shlex.split(command)
        assert program == "python"
        subprocess.run([sys.executable, *arguments, *more], cwd=folder, check=True, env=os.environ | {"PYTHONPATH": ""})
    return folder


@pytest.mark.slow
@pytest.mark.parallel
def test_the_walk_through_of_the_page_finds_the_leak_and_none_in_other_lists(
    walked: Path, cli: Callable[..., Ran], tmp_path: Path
) -> None:
    """lightly's own loop on 200 images leaks by labels; images that were never in it do not."""
    copytree(walked, tmp_path, dirs_exist_ok=True)
    _, commands, _ = blocks()
    inspected, audit = map(shlex.split, commands[2:])
    said = subprocess.run([sys.executable, "-m", *inspected], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1].startswith(
        "read by: target=checkpoint target.file=encoder.ckpt target.arch=lig"
    )
    leak = rows(cli(*audit[1:]))
    assert [row["layer"] for row in leak] == ["backbone", "projector", "joint"]
    strongest = max(leak, key=lambda row: row["auc"])
    assert strongest["verdict"].startswith("leaks") and strongest["auc_low"] > 0.5
    assert "encoder.ckpt" in strongest["given"] and "200 members" in strongest["given"]
    assert "recognises" not in strongest["given"]
    settings: dict[str, Any] = {"arch": "lightly/resnet-9", "arguments": {"width": 0.25}}
    files_out = sorted((tmp_path / "photos" / "other").iterdir())[:128]
    pixels = np.stack([np.asarray(Image.open(one)) for one in files_out])
    photos = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    for normalize, said in (("imagenet", False), ("none", True), ([[0.0] * 3, [1 / 255] * 3], True)):
        encoder = Checkpoint(file=str(tmp_path / "encoder.ckpt"), normalize=normalize, **settings).build()
        assert (misread(encoder, photos) is not None) == said
    # The same file, with lists that were never in it.
    others = ["data.members=photos/out", "data.nonmembers=photos/other"]
    for row in rows(cli(*audit[1:], *others)):
        assert row["verdict"].startswith("no leak found")


@pytest.mark.slow
@pytest.mark.parallel
def test_shadows_by_the_same_script_find_the_leak_with_labels_and_without(
    walked: Path, cli: Callable[..., Ran], tmp_path: Path
) -> None:
    """The page's commands with shadows, which two processes train: a list, a log and an encoder for each of four."""
    copytree(walked, tmp_path, dirs_exist_ok=True)
    plan, train, audit = map(shlex.split, blocks()[2])
    assert plan[:2] == train[:2] == ["lpla", "shadows"] and audit[0] == "lpla"
    show(plan[2:])
    by_this = [*train[1:-1], train[-1].replace("python ", f"{sys.executable} ", 1)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    both = [subprocess.Popen([sys.executable, "-m", "lpla", *by_this], env=environment) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    for one in (tmp_path / "shadows").glob("shadow_*"):
        assert {file.name for file in one.glob("[!.]*")} == {"encoder.ckpt", "log.txt", "members.txt", "training.json"}
    quick = ["permutations=5", "targets=one"]
    for more in ([], ["knowledge.kind=shadows"]):
        found = {row["layer"]: row for row in rows(cli(*audit[1:], *quick, *more))}
        assert set(found) == {"backbone", "projector", "joint"} and {row["shadows"] for row in found.values()} == {4}
        for row in found.values():
            assert row["verdict"].startswith("leaks") and row["auc_low"] > 0.5
        assert found["joint"]["auc"] > 0.7


def rows(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.out + ran.err
    return json.loads((ran.folder / "result.json").read_text())

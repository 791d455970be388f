"""An encoder that cannot have seen the images, beside the target: by several loaders, through the whole audit."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tiny_audit import Ran
from torch import nn

import lpla
from lpla.auditing.shadows import plan
from lpla.contracts.inputs import InputError
from lpla.data.dataset.torchvision import Torchvision

FILES = Path(__file__).parent / "files"
NARROW: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}
RESNET = ["+target.arguments.layers=[1,1,1,1]", "+target.arguments.channels=[4,4,8,8]", "target.normalize=none"]
OF_TIMM = "{target: timm, model: resnet18, normalize: none, arguments: {layers: [1,1,1,1], channels: [4,4,8,8]}, file: "
QUICK = ["permutations=3", "observe.queries=4", "queries=3", "attack=bank", "dataset.size=32"]


@pytest.fixture
def photos(cifar100_root: Path, tmp_path: Path) -> list[str]:
    """120 photographs of CIFAR-100 in two folders, and another encoder of timm's: the settings of the lists."""
    pixels = Torchvision(name="cifar100", root=str(cifar100_root), download=False).load().pixels[:120]
    for number, image in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        side = tmp_path / ("in" if number % 2 else "out")
        side.mkdir(exist_ok=True)
        Image.fromarray(image).save(side / f"{number}.png")
    torch.manual_seed(3)
    network = timm.create_model("resnet18", num_classes=0, **NARROW).train()
    for _ in range(10):
        network(torch.rand(16, 3, 32, 32))
    torch.save(network.state_dict(), tmp_path / "another.pth")
    return [*QUICK, f"data.members={tmp_path / 'in'}", f"data.nonmembers={tmp_path / 'out'}"]


def target(option: str, file: str, *settings: str) -> list[str]:
    return [f"target={option}", f"target.file={FILES / file}", *settings]


LOADERS: dict[str, tuple[list[str], str, str]] = {
    "timm": (target("timm", "timm.pth", "target.model=resnet18", *RESNET), "another.pth", "timm"),
    "checkpoint": (
        target("checkpoint", "moco_v2.pth.tar", "target.arch=timm/resnet18", *RESNET),
        str(FILES / "simsiam.pth.tar"),
        "checkpoint",
    ),
    "another loader": (target("exported", "dynamic.pt2", "target.normalize=none"), OF_TIMM + "another.pth}", "timm"),
}
"""A target, what its reference is, and what reads that."""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("name", LOADERS)
def test_a_reference_is_attacked_as_the_target_is(
    name: str, photos: list[str], cli: Callable[..., Ran], tmp_path: Path
) -> None:
    told, reference, kind = LOADERS[name]
    found = rows(cli(*told, *photos, f"target.reference={reference}"))
    assert {row["layer"] for row in found} >= ({"backbone", "projector"} if name == "checkpoint" else {"backbone"})
    file = tmp_path / "another.pth" if "another.pth" in reference else Path(reference)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    for row in found:
        assert f"the reference is {file.name}, SHA-256 {sha256}, read by target={kind}" in row["given"]
        assert row["null_reference_auc"] not in (None, row["auc"], row["null_untrained_auc"])
        assert row["verdict"].startswith("no leak found")
    # The null is what the attack finds where the reference itself is the target.
    itself = ["target=timm", "target.model=resnet18", *RESNET] if kind == "timm" else told[:1] + told[2:]
    expected = rows(cli(*itself, *photos, f"target.file={file}"))
    for row, alone in zip(found, expected, strict=True):
        assert (
            row["null_reference_auc"] == pytest.approx(alone["auc"], abs=1e-9) and alone["null_reference_auc"] is None
        )


def rows(ran: Ran) -> list[dict[str, Any]]:
    assert ran.code == 0, ran.out + ran.err
    return json.loads((ran.folder / "result.json").read_text())


class Remembers(nn.Module):
    """An encoder that gives the images that it knows longer vectors, along directions of its own."""

    def __init__(self, known: np.ndarray, seed: int) -> None:
        super().__init__()
        self.known = {int(one.astype(int).sum()) for one in known}
        self.weights = torch.randn(3 * 32 * 32, 8, generator=torch.Generator().manual_seed(seed)) / 50

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = (x * 255).sum(dim=(1, 2, 3)).round().int().tolist()
        length = torch.tensor([6.0 if one in self.known else 1.0 for one in total])
        return (x.flatten(1) @ self.weights + 0.1) * length[:, None]


@pytest.mark.wrong_types
def test_in_python_a_reference_that_finds_members_makes_a_leak_invalid(
    cifar100_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: list[str]
) -> None:
    """A function, or a file by another loader: a reference that saw none leaves the verdict, one that did takes it."""
    monkeypatch.chdir(tmp_path)
    pixels = Torchvision(name="cifar100", root=str(cifar100_root), download=False).load().pixels[:120].numpy()
    images = {"members": pixels[1::2], "nonmembers": pixels[::2]}
    encode = Remembers(pixels[1::2], 0)
    by_timm = [f"target.reference={OF_TIMM}another.pth}}"]
    for reference, more, verdict in (
        (Remembers(pixels[:0], 1), [], "leaks"),
        (None, by_timm, "leaks"),
        (Remembers(pixels[1::2], 1), [], "invalid: "),
    ):
        (row,) = lpla.audit_encoder(encode, *QUICK[:2], *more, queries=1, reference=reference, **images)
        assert row.verdict.startswith(verdict) and row.null_reference_auc is not None and (row.auc or 0) > 0.9
        assert (row.null_reference_auc > 0.9) == (verdict != "leaks")
        assert f"read by target={'timm' if more else 'python'}" in row.given
    with pytest.raises(InputError, match="reference must be another encoder than the target"):
        lpla.audit_encoder(encode, reference=encode, **images)
    with pytest.raises(InputError, match="reference must be a function or a torch module, got str"):
        lpla.audit_encoder(encode, reference="another.pth", **images)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nowhere.pth", "target.reference: .*nowhere.pth"),
        (str(FILES / "moco_v2.pth.tar"), "target.reference must be another encoder than the target"),
        (str(FILES / "mae.pth"), "target.reference: "),
        ("{file: another.pth}", "target.reference.target must be one of checkpoint, .*, got null"),
        ("{target: trained}", "target.reference.target must be one of checkpoint, .*, got 'trained'"),
        ("{target: timm, fil: x}", "target.reference.fil is no setting; did you mean .*file"),
        ("{target: onnx, file: another.pth, normalize: none}", "target.reference: "),
        (OF_TIMM + "another.pth, projector: null}", "target.reference must have the target's layers, got none at proj"),
        ("{target: timm, arguments: {_target_: os.getcwd}}", r"target.reference.arguments._target_ must name a class"),
        ("{_target_: os.getcwd}", r"target.reference._target_ must name"),
        ("3", "target.reference must be .*, got 3"),
        ("''", "target.reference must be the path of a file or folder, got ''"),
    ],
)
def test_what_no_reference_is_is_one_sentence(
    reference: str, said: str, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        lpla.audit(*LOADERS["checkpoint"][0], *photos, f"target.reference={reference}")


def test_one_file_given_twice_is_refused_however_it_is_read(
    photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shadow that is another shadow, a reference that is a shadow, and one that is the target by another loader."""
    monkeypatch.chdir(tmp_path)
    told, *_ = LOADERS["timm"]
    plan(Path("shadows"), ["k=2", *photos[-3:]])
    (tmp_path / "shadows" / "plan.json").unlink()
    for name in ("shadow_1", "shadow_2"):
        shutil.copy(tmp_path / "another.pth", tmp_path / "shadows" / name / "encoder.pth")
    with pytest.raises(InputError, match="shadow_2 must be another encoder than shadow_1, got shadow_1 itself"):
        lpla.audit(*told, *photos, "target.shadows=shadows")
    weights = torch.load(tmp_path / "another.pth", weights_only=True)
    torch.save({name: one * 2 for name, one in weights.items()}, tmp_path / "shadows" / "shadow_2" / "encoder.pth")
    torch.save(
        torch.load(FILES / "timm.pth", weights_only=True), "saved_again.pth", _use_new_zipfile_serialization=False
    )
    assert (tmp_path / "saved_again.pth").read_bytes() != (FILES / "timm.pth").read_bytes()
    with pytest.raises(InputError, match=r"target.reference must be another encoder than the target"):
        lpla.audit(*told, *photos, "target.reference=saved_again.pth")
    by_checkpoint = "{target: checkpoint, arch: timm/resnet18, normalize: half, "
    by_checkpoint += "arguments: {layers: [1,1,1,1], channels: [4,4,8,8]}, file: "
    for file, whose in ((tmp_path / "another.pth", "shadow_1"), (FILES / "timm.pth", "the target")):
        with pytest.raises(InputError, match=f"target.reference must be another encoder than {whose}, got {whose} its"):
            lpla.audit(*told, *photos, "target.shadows=shadows", f"target.reference={by_checkpoint}{file}}}")

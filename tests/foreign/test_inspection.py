"""`lpla inspect FILE`, with no more settings: what a file is, what would be taken of it, and which settings read it."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lightly.models import ResNetGenerator
from torchvision.models import resnet18

from lpla.__main__ import main
from lpla.auditing.inspection import describe
from lpla.contracts.inputs import InputError

FILES = Path(__file__).parent / "files"


def test_a_file_of_two_networks_is_described_with_the_choice_and_the_settings(tmp_path: Path) -> None:
    weights = {k: v for k, v in resnet18().state_dict().items() if not k.startswith("fc.")}
    head = {"module.encoder_q.fc.weight": torch.rand(128, 512), "module.encoder_q.fc.bias": torch.rand(128)}
    state = {f"module.{network}.{k}": v for network in ("encoder_q", "encoder_k") for k, v in weights.items()} | head
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {}}, tmp_path / "c.pth.tar")
    said = list(describe(str(tmp_path / "c.pth.tar")))
    assert said[0].startswith(f"{tmp_path}/c.pth.tar: weights, by torch.save, ")
    assert said[1] == "holds: epoch, state_dict (242), optimizer (0)"
    assert any(line.startswith("below state_dict.module.encoder_k: torchvision/resnet18 100/100, ") for line in said)
    choice = next(line for line in said if line.startswith("would take: "))
    assert "state_dict.module.encoder_q as torchvision/resnet18, not state_dict.module.encoder_k: MoCo's" in choice
    assert said[-3] == "projector: module.encoder_q.fc (512 to 128)"
    assert said[-2] == "ignored: module.encoder_k (100), module.encoder_q.fc (2)"
    assert said[-1].startswith("read by: target=checkpoint ") and "target.arch=torchvision/resnet18" in said[-1]


def unread(file: Path, archs: Sequence[str] = ()) -> tuple[list[str], str]:
    """What is said of a file that no target reads as it stands, and the sentence that says why."""
    said = []
    with pytest.raises(InputError) as refused:
        for line in describe(str(file), archs):
            said.append(line)  # those before the error count
    return said, str(refused.value)


def test_a_network_of_other_widths_is_named_as_such() -> None:
    said, why = unread(FILES / "lightly_train.pt", ["timm/resnet18"])
    assert any("timm/resnet18 60/100 (55 of another shape)" in line for line in said)
    assert why.startswith("nothing is taken: ") and "of another shape: layer1.0.conv1.weight" in why


def test_an_architecture_by_another_width_is_said_and_its_argument_may_be_given(tmp_path: Path) -> None:
    """Of a network that was made narrower nothing but "0 of 60 tensors" was said, and no setting could be tried."""
    network = ResNetGenerator("resnet-9", width=0.25)
    torch.save({f"backbone.{name}": value for name, value in network.state_dict().items()}, tmp_path / "narrow.pt")
    _, why = unread(tmp_path / "narrow.pt", ["lightly/resnet-9"])
    assert why.startswith("nothing is taken: ")
    assert why.endswith("where it has a width, 16 channels for 64 are +target.arguments.width=0.25")
    said = list(describe(str(tmp_path / "narrow.pt"), ["lightly/resnet-9", "+target.arguments.width=0.25"]))
    assert "target.arch=lightly/resnet-9 +target.arguments.width=0.25 " in said[-1]
    for wrong in ("+width=1", "+target.arguments.width=1"):
        with pytest.raises(InputError, match=r"target.arguments.NAME=VALUE"):
            list(describe(str(tmp_path / "narrow.pt"), [wrong]))


@pytest.mark.parametrize(
    ("file", "first", "last"),
    [
        ("static.onnx", "an ONNX model", "target=onnx"),
        ("dynamic.pt2", "a program of torch.export", "target=exported"),
        ("script.pt", "a TorchScript program", "target.run_code=true"),
        ("timm_folder", "a folder of timm, resnet18", "target=timm"),
        ("hf_vit", "a folder of transformers, ViTModel, with its input rule", "target=huggingface"),
    ],
)
def test_other_kinds_are_named_with_the_target_that_reads_them(file: str, first: str, last: str) -> None:
    said = list(describe(str(FILES / file)))
    assert first in said[0] and last in said[-1]


def test_a_pointer_is_no_error_and_a_payload_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    class Payload:
        def __reduce__(self) -> tuple:
            return os.system, (f"touch {tmp_path}/ran",)

    (tmp_path / "p.pth").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert unread(tmp_path / "p.pth")[1] == f"no target reads {tmp_path}/p.pth: fetch the file with `git lfs pull`"
    torch.save(Payload(), tmp_path / "evil.pth")
    monkeypatch.setattr("sys.argv", ["lpla", "inspect", str(tmp_path / "evil.pth")])
    with pytest.raises(SystemExit, match="2"):
        main()
    printed = capsys.readouterr()
    assert "posix.system, which was refused" in printed.err and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("saved", [[1, 2, 3], {"epoch": 3, "args": {}}, {}])
def test_a_file_without_tensors_is_said_to_hold_none(saved: object, tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "none.pth")
    assert unread(tmp_path / "none.pth")[1].endswith(
        "none.pth: it holds no tensors by the names of a network's weights"
    )


@pytest.mark.parametrize("name", ["none.pth", "text.pth", "absent.pth", "folder"])
def test_a_file_that_no_target_reads_ends_with_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said and the exit code was 0, so that a script went on with it."""
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("sys.argv", ["lpla", "inspect", str(tmp_path / name)])
    with pytest.raises(SystemExit, match="2"):
        main()
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ") and name in printed.err and "read by" not in printed.out


def test_folders_that_no_target_reads_and_those_without_a_rule_are_said(tmp_path: Path) -> None:
    assert unread(tmp_path)[1] == f"no target reads {tmp_path}: it is a folder without config.json"
    shutil.copytree(FILES / "hf_vit", tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").unlink()
    assert list(describe(str(tmp_path / "vit")))[-1].endswith("target.normalize=...")


def test_an_argument_that_cannot_be_read_is_one_sentence() -> None:
    with pytest.raises(
        InputError, match=r"a setting here must be \+target\.arguments\.NAME=VALUE, got .*layers=\[1,1: "
    ):
        list(describe(str(FILES / "timm.pth"), ["timm/resnet18", "+target.arguments.layers=[1,1"]))

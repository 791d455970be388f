"""Files that are not what a user thinks: each is refused in one sentence with the remedy, and nothing is executed."""

import argparse
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lpla.auditing.inspection import describe
from lpla.contracts.inputs import InputError
from lpla.encoders.target._reading import read_weights
from lpla.encoders.target.checkpoint import Checkpoint
from lpla.encoders.target.exported import Exported
from lpla.encoders.target.huggingface import Huggingface
from lpla.encoders.target.onnx import Onnx
from lpla.encoders.target.timm import Timm
from lpla.encoders.target.torchvision import Torchvision
from lpla.work.given import look_at

FILES = Path(__file__).parent / "files"
NARROW = {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}
SETTINGS: dict[str, Any] = {"arch": "timm/resnet18", "arguments": NARROW, "normalize": "none"}


def state() -> dict[str, Tensor]:
    return timm.create_model("resnet18", num_classes=0, **NARROW).state_dict()


def build(path: Path, **settings: Any) -> Any:
    return Checkpoint(file=str(path), **(SETTINGS | settings)).build()


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """What torch.save makes of an object, in a file of the test's own."""

    def write(saved: object, **more: Any) -> Path:
        torch.save(saved, tmp_path / "encoder.pth", **more)
        return tmp_path / "encoder.pth"

    return write


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n", "git lfs pull"),
        (b"", "an empty file: download"),
        (b"<!DOCTYPE html><html></html>", "a web page: download the file itself"),
        (b"\x80\x04K\x01.", "a pickle that torch.save did not write"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}", "a truncated file"),
        (b"something else", "a file of no known kind"),
    ],
)
def test_what_is_no_file_of_weights_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "encoder.pth").write_bytes(content)
    with pytest.raises(InputError, match=re.escape(said)):
        build(tmp_path / "encoder.pth")


@pytest.mark.parametrize("kept", [100, 5_000, -200])
def test_a_truncated_file_is_named(kept: int, written: Callable[..., Path]) -> None:
    path = written(state())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="a truncated file: download or copy it again"):
        build(path)


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "encoder.pth")
    for place in (tmp_path / "encoder.pth", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"but {place} is neither a file nor a folder"):
            build(place)


def test_a_truncated_old_file_is_named(written: Callable[..., Path]) -> None:
    path = written(state(), _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-5_000])
    with pytest.raises(InputError, match="a truncated file: download or copy it again"):
        build(path)


def test_safetensors_are_read_under_another_name_and_named_if_truncated(tmp_path: Path) -> None:
    weights = state()
    save_file(weights, tmp_path / "encoder.pth")
    found = build(tmp_path / "encoder.pth")
    assert torch.equal(found.network.net.conv1.weight, weights["conv1.weight"])
    (tmp_path / "encoder.pth").write_bytes((tmp_path / "encoder.pth").read_bytes()[:-10])
    with pytest.raises(InputError, match="a truncated file"):
        build(tmp_path / "encoder.pth")


class Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_payload_is_refused_by_name_and_not_executed(
    zipped: bool, tmp_path: Path, written: Callable[..., Path]
) -> None:
    ran = tmp_path / "ran"
    path = written({"state_dict": state(), "callback": Payload(ran)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"would run posix\.system, which was refused"):
        build(path)
    assert not ran.exists()
    torch.load(path, weights_only=False)
    assert ran.exists()  # as it would have been


def test_a_whole_module_is_refused_by_name(written: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"would run .*nn\.modules\.linear\.Linear.*save the model's state_dict"):
        build(written(nn.Linear(2, 2)))


@pytest.mark.parametrize("zipped", [True, False])
def test_harmless_objects_beside_the_weights_do_not_hinder(zipped: bool, written: Callable[..., Path]) -> None:
    beside = {"args": argparse.Namespace(lr=0.1, out=Path("/tmp")), "best": np.float64(0.5), "curve": np.ones(3)}
    path = written({"state_dict": state()} | beside, _use_new_zipfile_serialization=zipped)
    assert build(path).encode(torch.rand(2, 3, 32, 32))["backbone"].shape == (2, 8)
    assert not isinstance(read_weights(path)["args"], argparse.Namespace)  # a stand-in, which does nothing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda one: (one * 10).to(torch.int8),
            "must hold floating-point weights, but conv1.weight is of int8: give the",
        ),
        (lambda one: one.to(torch.complex64), "but conv1.weight is of complex64"),
        (
            lambda one: one * torch.nan,
            "must hold a network of numbers, but conv1.weight has NaN: its training diverged",
        ),
        (lambda one: one.to_sparse(), "must hold dense tensors with their values, but conv1.weight is sparse"),
        (lambda one: one.to("meta"), "must hold dense tensors with their values, but conv1.weight is without values"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_weights_that_are_no_plain_numbers_are_named(
    change: Callable[[Tensor], Tensor], said: str, written: Callable[..., Path]
) -> None:
    """Integers were taken as they are, complex numbers lost a part, NaN was laid to target.normalize; others failed."""
    weights = state()
    path = written(weights | {"conv1.weight": change(weights["conv1.weight"])})
    with pytest.raises(InputError, match=re.escape(said)):
        build(path)
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        found = build(written({k: v.to(kind) if v.is_floating_point() else v for k, v in weights.items()}))
        torch.testing.assert_close(found.network.net.conv1.weight, weights["conv1.weight"].to(kind).float())


@pytest.mark.parametrize("name", ["timm_folder", "hf_vit"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "config.json must be an object of JSON, but cannot be read: Expecting property name"),
        ("[1]", "config.json must be an object of JSON, got list"),
        ("\xff", "config.json must be an object of JSON, but cannot be read: 'utf-8' codec"),
    ],
)
def test_a_configuration_that_is_none_is_named(name: str, content: str, said: str, tmp_path: Path) -> None:
    """By the loader, and by `lpla inspect` too: json's own error was all that was said."""
    folder = shutil.copytree(FILES / name, tmp_path / name)
    (folder / "config.json").write_bytes(content.encode("latin-1"))
    target = Timm(file=str(folder)) if name == "timm_folder" else Huggingface(file=str(folder))
    for read in (target.parts, lambda: list(describe(str(folder)))):
        with pytest.raises(InputError, match=re.escape(said)):
            read()


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"image_mean": "x", "image_std": [1]}, "a processor's configuration of images, but cannot be read: TypeError"),
        ({"image_mean": [0.5], "image_std": [0]}, "a processor's configuration of images: target.normalize must be"),
        ({"size": "big"}, "target.file must hold a model of square images, got 'big'"),
        ({"size": {"height": 3, "width": 4}}, "target.file must hold a model of square images"),
    ],
)
def test_a_processor_that_says_something_else_is_named(said: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FILES / "hf_vit", tmp_path / "hf_vit")
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=re.escape(wrong)):
        Huggingface(file=str(folder)).parts()
    config = json.loads((FILES / "timm_folder" / "config.json").read_text())
    folder = shutil.copytree(FILES / "timm_folder", tmp_path / "timm_folder")
    (folder / "config.json").write_text(json.dumps(config | {"pretrained_cfg": {"mean": [0.5]}}))
    with pytest.raises(InputError, match=r"with timm's pretrained_cfg, but cannot be read: KeyError\('input_size'\)"):
        Timm(file=str(folder)).parts()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda whole: whole[:-50], "cannot be read by transformers: Error while deserializing header"),
        (lambda whole: whole[:20], "model.safetensors must hold an encoder's weights, but is a truncated file"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1", "fetch the file with `git lfs pull`"),
    ],
)
def test_a_folder_with_damaged_weights_is_one_sentence(
    change: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed; pip install 'lpla[huggingface]'")
    folder = shutil.copytree(FILES / "hf_vit", tmp_path / "hf_vit")
    file = folder / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        Huggingface(file=str(folder)).build()
    assert "\n" not in str(refused.value)


def test_no_matching_key_is_said_with_counts(written: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="holds no tensor of timm/resnet18"):
        build(written({"weight": torch.ones(2)}))
    part = {name: tensor for name, tensor in state().items() if not name.startswith("layer4")}
    with pytest.raises(InputError, match=r"of timm/resnet18's 65 tensors 50 are below \(no prefix\); missing: layer4"):
        build(written(part))


def test_of_two_unknown_networks_the_user_names_one(written: Callable[..., Path]) -> None:
    one, other = state(), state()
    path = written({f"first.{k}": v for k, v in one.items()} | {f"second.{k}": v for k, v in other.items()})
    with pytest.raises(InputError, match=r"target\.prefix must name one of first, second"):
        build(path)
    assert torch.equal(build(path, prefix="second").network.net.conv1.weight, other["conv1.weight"])
    with pytest.raises(InputError, match=r"one of encoder\.pth's prefixes \(first, second\), got third"):
        build(path, prefix="third")


PAIRS = [
    ("module.encoder_q.", "module.encoder_k.", "query encoder"),
    ("module.base_encoder.", "module.momentum_encoder.", "base encoder"),
    ("backbone.", "momentum_backbone.", "solo-learn"),
    ("backbone.", "backbone_momentum.", "lightly"),
    ("teacher_backbone.", "student_backbone.", "teacher"),
    ("backbone.", "slow_backbone.", "lpla"),
]


@pytest.mark.parametrize(("released", "other", "why"), PAIRS)
def test_of_a_known_pair_the_released_one_is_taken_and_said(
    released: str, other: str, why: str, written: Callable[..., Path]
) -> None:
    weights, slow = state(), state()
    both = {released + k: v for k, v in weights.items()} | {other + k: v for k, v in slow.items()}
    found = build(written({"state_dict": both}))
    assert torch.equal(found.network.net.conv1.weight, weights["conv1.weight"])
    assert why in found.notes[0] and other.rstrip(".") in found.notes[0]


def test_a_stem_for_small_images_must_be_chosen_as_its_tensors_fit_both(written: Callable[..., Path]) -> None:
    from torchvision.models import resnet18

    net = resnet18()
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 2, bias=False)
    net.maxpool = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    path = str(written({k: v for k, v in net.state_dict().items() if not k.startswith("fc.")}))
    settings: dict[str, Any] = {"file": path, "model": "resnet18", "normalize": "none"}
    with pytest.raises(InputError, match=r"target\.stem=cifar \(padding 1\), or target\.stem=solo"):
        Torchvision(**settings).build()
    net.fc = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        right, wrong = (Torchvision(**settings, stem=stem).build().encode(images) for stem in ("solo", "cifar"))
        torch.testing.assert_close(right["backbone"], net.eval()(images))
        assert not torch.allclose(wrong["backbone"], net(images), rtol=0.01)


def test_a_head_of_another_size_is_ignored_and_listed(written: Callable[..., Path]) -> None:
    found = build(written(timm.create_model("resnet18", num_classes=37, **NARROW).state_dict()))
    assert found.layers == ("backbone",)
    assert found.notes[1] == "ignored: fc (2)"


def test_a_projection_head_can_be_named_or_left_out(written: Callable[..., Path]) -> None:
    head = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))
    saved = {f"backbone.{k}": v for k, v in state().items()} | {f"mine.{k}": v for k, v in head.state_dict().items()}
    path, images = written(saved), torch.rand(2, 3, 32, 32)
    assert build(path).layers == ("backbone",)
    named = build(path, projector="mine").encode(images)
    torch.testing.assert_close(named["projector"], head(named["backbone"]))
    usual = written({name.replace("mine.", "projector."): tensor for name, tensor in saved.items()})
    assert build(usual).layers == ("backbone", "projector") and build(usual, projector=None).layers == ("backbone",)


def test_positions_of_another_image_size_are_said(written: Callable[..., Path]) -> None:
    size = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    path = written(timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=48, **size).state_dict())
    with pytest.raises(InputError, match=r"pos_embed is \[1, 37, 16\], not .*set target\.arguments\.img_size"):
        build(path, arch="timm/vit_tiny_patch16_224", arguments=size | {"img_size": 32})


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Checkpoint(), "target.file must be the path"),
        (Checkpoint(file="/nowhere.pth", normalize="none"), "there is nothing at /nowhere.pth"),
        (Checkpoint(file=str(FILES / "timm.pth"), normalize="none"), "target.arch must be"),
        (Checkpoint(file=str(FILES / "timm.pth"), arch="timm/resnet18"), "target.normalize must be one of imagenet"),
        (Checkpoint(file=str(FILES / "timm.pth"), arch="resnet18", normalize="none"), "LIBRARY/NAME"),
        (Checkpoint(file=str(FILES / "timm.pth"), arch="timm/resnet81", normalize="none"), "did you mean resnet"),
        (Checkpoint(file=str(FILES / "static.onnx"), **SETTINGS), "choose target=onnx"),
        (Checkpoint(file=str(FILES / "static.pt2"), **SETTINGS), "choose target=exported"),
        (Checkpoint(file=str(FILES / "script.pt"), **SETTINGS), "choose target=exported"),
        (Checkpoint(file=str(FILES / "timm_folder"), **SETTINGS), "target=timm"),
        (Timm(file=str(FILES / "timm.pth"), normalize="none"), "target.model must be timm's name"),
        (Torchvision(file=str(FILES / "timm.pth"), normalize="none"), "target.model must be torchvision's name"),
        (Exported(file=str(FILES / "timm.pth"), normalize="none"), "weights, by torch.save"),
        (Exported(file=str(FILES / "script.pt"), normalize="none"), "target.run_code must be true"),
        (Exported(file=str(FILES / "static.pt2"), normalize="none", side=64), "target.side must be 32"),
        (Checkpoint(file=str(FILES / "timm.pth"), **(SETTINGS | {"normalize": "imagenett"})), "did you mean imagenet"),
        (
            Torchvision(file=str(FILES / "timm.pth"), model="fcn_resnet50", normalize="none"),
            "target.model must be a class",
        ),
        (
            Timm(file=str(FILES / "timm.pth"), model="resnet81", normalize="none"),
            "target.model must be a model of timm, got resnet81; did you mean resnet",
        ),
        (
            Timm(file=str(FILES / "timm.pth"), model="vit_tiny_patch16_224", normalize="none"),
            "target.model must be the architecture in timm.pth, which holds no tensor of timm/vit_tiny_patch16_224",
        ),
        (
            Timm(file=str(FILES / "timm.pth"), model="resnet18", normalize="none"),
            "target.model must be the architecture in timm.pth, but of timm/resnet18's",
        ),
        (
            Timm(file=str(FILES / "timm.pth"), model="resnet18", stem="cifar", normalize="none"),
            "target.stem can be changed in torchvision's ResNets alone, got target.model=resnet18",
        ),
        (
            Checkpoint(file=str(FILES / "timm.pth"), arch="timm/resnet18", normalize="none"),
            "target.arch must be the architecture in timm.pth, but of timm/resnet18's",
        ),
        (
            Checkpoint(file=str(FILES / "timm.pth"), arch="ours/vitt", normalize="none"),
            "target.arch must be a backbone",
        ),
        (
            Checkpoint(file=str(FILES / "timm.pth"), **(SETTINGS | {"arguments": {"checkpoint_path": "other.pth"}})),
            "target.arguments must not name weights, as target.file does, got checkpoint_path",
        ),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_one_sentence(target: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        target.build()
    assert "\n" not in str(refused.value)


def test_a_pt2_with_pickled_objects_is_refused_unexecuted(tmp_path: Path) -> None:
    import zipfile

    path, ran = tmp_path / "encoder.pt2", tmp_path / "ran"
    torch.save(Payload(ran), tmp_path / "payload.pt")
    with zipfile.ZipFile(FILES / "static.pt2") as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            evil = name.endswith("sample_inputs/model.pt")
            copy.writestr(name, (tmp_path / "payload.pt").read_bytes() if evil else source.read(name))
        assert any(name.endswith("sample_inputs/model.pt") for name in source.namelist())
    with pytest.raises(InputError, match=r"would run code of .*sample_inputs"):
        Exported(file=str(path), normalize="none").build()
    assert not ran.exists()
    (tmp_path / "config").mkdir()
    with zipfile.ZipFile(FILES / "static.pt2") as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            text = source.read(name)
            copy.writestr(name, text.replace(b'"use_pickle": false', b'"use_pickle": true'))
    with pytest.raises(InputError, match="holds pickled objects"):
        Exported(file=str(path), normalize="none").build()


def test_an_onnx_model_without_its_data_is_said(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'lpla[onnx]'")
    (tmp_path / "beside.onnx").write_bytes((FILES / "beside.onnx").read_bytes())
    with pytest.raises(InputError, match=r"beside\.onnx\.data, which must lie beside it"):
        Onnx(file=str(tmp_path / "beside.onnx"), normalize="none").build()


def test_an_extra_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=re.escape("pip install 'lpla[onnx]'")):
        Onnx(file=str(FILES / "static.onnx"), normalize="none").build()


def test_a_key_holds_content_and_settings_and_no_path(written: Callable[..., Path], tmp_path: Path) -> None:
    path = written(state())
    target = Checkpoint(file=str(path), **SETTINGS)
    moved = path.rename(tmp_path / "other.bin")
    parts = Checkpoint(file=str(moved), **SETTINGS).parts()
    assert "other" not in str(parts)
    path.write_bytes(moved.read_bytes())
    assert target.parts() == parts
    for change in ({"layer": "layer3"}, {"projector": None}, {"normalize": "half"}, {"side": 32}, {"stem": "cifar"}):
        assert Checkpoint(file=str(moved), **(SETTINGS | change)).parts() != parts
    torch.save(state(), path)
    assert target.parts() != parts


IMAGES = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"layer": "fc"}, r"target\.layer must be pooled or a module's path, got fc, a module that .* does not call$"),
        ({"layer": "layer5"}, r"target\.layer must be .*, got layer5; did you mean layer\d"),
        ({"layer": ""}, r"target\.layer must be pooled or a module's path, got nothing$"),
        ({"projector": "fc"}, r"target\.projector must be pooled or a module's path, got fc, a module that"),
        ({"projector": "layer4:cls"}, r"target\.projector must be a vector or a map"),
        ({"side": 1_000_000}, r"the encoder cannot answer to images of 3 x 32 x 32 values: .*; set target\.side"),
        ({"side": 32, "resize": 1_000_000}, r"the encoder cannot answer to images of .*; set target\.side"),
        ({"arguments": NARROW | {"features_only": True}}, r"the encoder cannot answer to images of "),
        (
            {"normalize": {"mean": 0.5}},
            r"target\.normalize must be a text or a list of which each is a value or null, got",
        ),
    ],
)
def test_what_a_network_cannot_do_is_one_sentence_of_the_setting(
    settings: dict[str, Any], said: str, written: Callable[..., Path]
) -> None:
    """Torch's own errors were all that was said, or the sentence named another setting, or the very word as a hint."""
    path = written(state())
    target = {"_target_": "lpla.encoders.target.checkpoint.Checkpoint", "file": str(path), **SETTINGS, **settings}
    with pytest.raises(InputError, match=said):
        look_at(target, IMAGES)

"""What a network is fed, against torchvision's transforms, and the rules that files say themselves."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import InterpolationMode, v2

from lpla.contracts.inputs import InputError
from lpla.encoders.target._input import InputRule, normalization, of_open_clip, of_timm, settled
from lpla.encoders.target.checkpoint import Checkpoint
from lpla.encoders.target.huggingface import of_processor
from lpla.encoders.target.timm import Timm
from lpla.encoders.target.torchvision import Torchvision

FILES = Path(__file__).parent / "files"
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def of_torchvision(x: torch.Tensor, rule: InputRule) -> torch.Tensor:
    """The same preparation by torchvision's own operations."""
    assert rule.side is not None
    mode = InterpolationMode(rule.interpolation)
    size = [rule.side, rule.side] if rule.resize is None else [rule.resize]
    x = v2.functional.resize(x, size, interpolation=mode, antialias=True).clamp(0, 1)
    return v2.functional.normalize(
        v2.functional.center_crop(x, [rule.side, rule.side]), list(rule.mean), list(rule.std)
    )


@given(
    side=st.integers(8, 24),
    more=st.none() | st.integers(0, 12),
    there=st.tuples(st.integers(9, 40), st.integers(9, 40)),
    kernel=st.sampled_from(["bilinear", "bicubic"]),
)
def test_images_are_prepared_as_torchvision_does(
    side: int, more: int | None, there: tuple[int, int], kernel: Any
) -> None:
    rule = InputRule(MEAN, STD, side, None if more is None else side + more, kernel, 3)
    x = torch.rand(2, 3, *there, generator=torch.Generator().manual_seed(side))
    found = rule(x)
    assert found.shape == (2, 3, side, side)
    torch.testing.assert_close(found, of_torchvision(x, rule), rtol=1e-5, atol=1e-5)


def test_without_a_side_images_are_normalised_alone() -> None:
    x = torch.rand(2, 3, 9, 9)
    expected = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(InputRule(MEAN, STD)(x), expected)


def test_grey_images_are_repeated_and_other_channels_refused() -> None:
    rule = InputRule((0.0,), (1.0,), channels=3)
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(rule(x), x.repeat(1, 3, 1, 1))
    with pytest.raises(InputError, match="takes images of 3 channels, got 4"):
        rule(torch.rand(2, 4, 4, 4))
    with pytest.raises(InputError, match="takes images of 1 channels, got 3"):
        InputRule((0.0,), (1.0,), channels=1)(torch.rand(2, 3, 4, 4))


def test_a_crop_larger_than_what_it_is_cropped_from_is_refused() -> None:
    with pytest.raises(InputError, match=r"target\.resize must be at least target\.side, 8, got 4"):
        InputRule((0.0,), (1.0,), 8, 4)(torch.rand(1, 3, 9, 9))


def test_settings_go_before_what_the_file_says() -> None:
    own = {"mean": MEAN, "std": STD, "side": 32, "resize": 40, "channels": 3}
    assert settled("f", own, {"side": None}) == InputRule(MEAN, STD, 32, 40, channels=3)
    assert settled("f", own, {"side": 48}) == InputRule(MEAN, STD, 48, None, channels=3)  # 40 belonged to 32
    assert settled("f", own, {"normalize": "half"}).mean == (0.5,)


@pytest.mark.parametrize("wrong", [[[0.5]], [[0.5], [0.0]], [[0.5, 0.5], [1.0]], 3, [["a"], ["b"]]])
def test_a_normalisation_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"target\.normalize must be"):
        normalization(wrong)


def test_timms_configuration_is_its_own_transform() -> None:
    import timm
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    model: Any = timm.create_model("resnet18.a1_in1k")
    found = of_timm(model.pretrained_cfg)
    transform: Any = create_transform(**resolve_data_config({}, model=model))
    assert found["side"] == transform.transforms[1].size[0] and found["resize"] == transform.transforms[0].size
    assert Timm(file=str(FILES / "timm.pth"), model="resnet18.a1_in1k").rule() == InputRule(**found)
    with pytest.raises(InputError, match=r"timm\.pth does not say how its images were normalised"):
        Timm(file=str(FILES / "timm.pth"), model="resnet18").rule()  # the default tag's is not this file's


def test_torchvisions_weights_say_the_rule_by_name() -> None:
    target = Torchvision(file=str(FILES / "timm.pth"), model="resnet50", weights_name="IMAGENET1K_V2")
    expected = InputRule((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224, 232, "bilinear", 3)
    assert target.rule() == expected
    with pytest.raises(InputError, match="one of IMAGENET1K_V1, IMAGENET1K_V2, got V3"):
        Torchvision(file=str(FILES / "timm.pth"), model="resnet50", weights_name="V3").rule()


def test_a_processors_configuration_is_a_rule() -> None:
    config = json.loads((FILES / "hf_vit" / "preprocessor_config.json").read_text())
    found = of_processor(config)
    assert found["side"] == 32 and found["mean"] == pytest.approx(MEAN) and found["std"] == pytest.approx(STD)
    crop = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    assert of_processor(config | crop | {"resample": 3}) | {"mean": 0, "std": 0} == {
        "mean": 0, "std": 0, "side": 32, "resize": 40, "interpolation": "bicubic",
    }  # fmt: skip
    x = torch.rand(2, 3, 32, 32)
    for more, pixels in (({"do_rescale": False}, 255 * x), ({"rescale_factor": 1 / 127.5}, 2 * x)):
        rule = InputRule(**of_processor(config | more))
        expected = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        torch.testing.assert_close(rule(x), expected)
    with pytest.raises(InputError, match="square"):
        of_processor(config | {"size": {"height": 32, "width": 16}})


def test_open_clips_configuration_is_a_rule() -> None:
    found = InputRule(**of_open_clip({"size": [32, 32], "mean": MEAN, "std": STD, "interpolation": "bilinear"}))
    assert found == InputRule(MEAN, STD, 32, 32, "bilinear", 3)


def test_open_clips_configuration_beside_the_weights_is_read(tmp_path: Path) -> None:
    """As OpenCLIP pushes a model: weights, and a configuration that may leave the side to the model's."""
    shutil.copy(FILES / "open_clip.pt", tmp_path)
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    target = Checkpoint(file=str(tmp_path / "open_clip.pt"), arch="timm/vit_base_patch16_clip_224", arguments=arguments)
    with pytest.raises(InputError, match=r"open_clip\.pt does not say how its images were normalised"):
        target.rule()
    config = {"preprocess_cfg": {"mean": MEAN, "std": STD}, "model_cfg": {"vision_cfg": {"image_size": 32}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    assert target.rule() == InputRule(MEAN, STD, 32, 32, "bicubic", 3)
    assert target.parts()["input"]["mean"] == list(MEAN)
    named = replace(target, normalize="half")
    assert named.rule() == InputRule((0.5,), (0.5,), 32, 32, "bicubic", 3)
    (tmp_path / "open_clip_config.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"open_clip_config\.json must be OpenCLIP's configuration with preprocess_cfg"
    ):
        target.rule()

"""The checks before any attack: each with the encoder that makes it speak, and with one of which it says nothing."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lpla.contracts.inputs import InputError
from lpla.encoders import given_checks
from lpla.encoders.recognition import misread
from lpla.encoders.target._given import GivenEncoder
from lpla.encoders.target._input import InputRule
from lpla.encoders.target._networks import Network
from lpla.encoders.target.checkpoint import Checkpoint
from lpla.encoders.target.python import Python

FILES = Path(__file__).parent / "files"
IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
RULE = InputRule((0.0,), (1.0,), channels=3)


class Answers(nn.Module):
    """A network of one function."""

    def __init__(self, answer: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"pooled": self.answer(x.flatten(1))}


def sound(x: Tensor) -> Tensor:
    return x[:, :6] + 1


def in_training_mode(x: Tensor) -> Tensor:
    return nn.functional.batch_norm(x.view(-1, 3, 8, 8), None, None, training=True).mean(dim=3).flatten(1)


WRONG: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "not_a_vector": (lambda x: x.view(-1, 3, 64), r"one vector for each image .* \[5, 3, 64\] for 5"),
    "not_finite": (lambda x: sound(x) / (x[:, :1] - IMAGES[1].flatten()[0]), "of 1 of 5 images are not finite"),
    "not_repeatable": (lambda x: sound(x) + 0.001 * torch.rand(6), "other embeddings at each query"),
    "dependent_on_batch": (in_training_mode, "another embedding alone .* training mode"),
    "collapsed": (lambda x: torch.ones(len(x), 6) + 1e-7 * x[:, :6], "5 different images have one embedding"),
}


@pytest.mark.wrong_types
@pytest.mark.parametrize("check", WRONG)
def test_a_check_speaks_of_its_fault_and_of_no_sound_encoder(check: str) -> None:
    answer, said = WRONG[check]
    found = getattr(given_checks, check)
    with pytest.raises(InputError, match=said):
        given_checks.check_given(GivenEncoder(Answers(answer), RULE), IMAGES)
    assert found(GivenEncoder(Answers(answer), RULE), IMAGES) is not None
    assert found(GivenEncoder(Answers(sound), RULE), IMAGES) is None


def test_every_check_has_a_fault() -> None:
    assert {check.__name__ for check in given_checks.CHECKS} == set(WRONG)


def test_a_batch_norm_that_refuses_one_image_is_seen() -> None:
    answer = GivenEncoder(Answers(lambda x: nn.functional.batch_norm(x, None, None, training=True)), RULE)
    assert "cannot answer to one image alone" in str(given_checks.dependent_on_batch(answer, IMAGES))


@pytest.mark.filterwarnings("ignore:std")
def test_an_answer_that_only_company_makes_a_number_is_seen() -> None:
    """Of one image alone the deviation is no number, which compares as no larger than any bound."""
    among = GivenEncoder(Answers(lambda x: (sound(x) - sound(x).mean(0)) / (sound(x).std(0) + 1e-3)), RULE)
    assert "another embedding alone (by nan" in str(given_checks.dependent_on_batch(among, IMAGES))
    unsure = iter([1.0, math.nan])
    at_times = GivenEncoder(Answers(lambda x: sound(x) * next(unsure)), RULE)
    assert "other embeddings at each query (by nan" in str(given_checks.not_repeatable(at_times, IMAGES))


def test_an_answer_by_place_in_the_batch_is_seen() -> None:
    by_place = GivenEncoder(Answers(lambda x: sound(x) * (1 + torch.arange(len(x))[:, None] % 2)), RULE)
    assert given_checks.dependent_on_batch(by_place, IMAGES) is not None


def test_weights_that_were_not_read_are_seen_and_batch_norms_that_saw_nothing() -> None:
    def network(seed: int) -> Network:
        torch.manual_seed(seed)
        return Network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval())

    one, same, other = (GivenEncoder(network(seed), RULE) for seed in (0, 0, 1))
    assert "the file's weights are not in it" in str(given_checks.untrained(one, IMAGES, same))
    assert "statistics of before training" in str(given_checks.untrained(one, IMAGES, other))
    one.network.train()(IMAGES)
    one.eval()
    assert given_checks.untrained(one, IMAGES, other) is None


def test_a_model_that_comes_in_training_mode_is_put_into_evaluation_mode_and_says_so() -> None:
    network = Network(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).train()
    encoder = GivenEncoder(network, RULE)
    assert not any(module.training for module in encoder.modules())  # nor itself: what observes it restores its mode
    assert encoder.notes == ("the model came in training mode and was put into evaluation mode",)
    given_checks.check_given(encoder, IMAGES)


def test_a_file_passes_its_checks_and_its_random_twin_differs() -> None:
    size = {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}
    target = Checkpoint(file=str(FILES / "moco_v2.pth.tar"), arch="timm/resnet18", arguments=size, normalize="none")
    encoder, blank = target.build(), target.blank()
    images = torch.rand(4, 3, 32, 32)
    given_checks.check_given(encoder, images, blank)
    assert blank.layers == encoder.layers == ("backbone", "projector")
    again = target.blank()
    with torch.inference_mode():
        for layer in blank.layers:
            assert torch.equal(blank.encode(images)[layer], again.encode(images)[layer])
            assert not torch.allclose(blank.encode(images)[layer], encoder.encode(images)[layer], rtol=0.1)


def test_layers_are_read_by_name_and_by_path_in_one_pass() -> None:
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    settings = {"file": str(FILES / "mae.pth"), "arch": "timm/vit_tiny_patch16_224", "arguments": size}
    images = torch.rand(3, 3, 32, 32)

    def read(layer: str, projector: str | None = None) -> dict[str, Tensor]:
        return Checkpoint(**settings, normalize="none", layer=layer, projector=projector).build().encode(images)

    with torch.inference_mode():
        net: Any = Checkpoint(**settings, normalize="none").build().network.net
        tokens = net.forward_features(images)
        assert torch.equal(read("cls")["backbone"], tokens[:, 0])
        assert torch.equal(read("mean")["backbone"], tokens[:, 1:].mean(1))
        both = read("pooled", "norm:cls")
        assert torch.equal(both["projector"], tokens[:, 0]) and torch.equal(both["backbone"], tokens[:, 0])
        with pytest.raises(InputError, match=r"write blocks\.1:cls or blocks\.1:mean"):
            read("blocks.1")
        with pytest.raises(InputError, match=r"pooled, mean, cls or a module's path, got block\.1; did you mean"):
            read("block.1")


def test_what_is_read_of_a_convolution_is_not_its_folded_batch_norm() -> None:
    from lpla.encoders.fold_batch_norm import folded

    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net(IMAGES)
    for layer in ("0", "1", "pooled"):
        encoder = GivenEncoder(Network(net.eval()), RULE, layer)
        with torch.inference_mode():
            plain = encoder.encode(IMAGES)["backbone"]
        with folded(encoder, lambda encoder=encoder: encoder.encode(IMAGES[:1])), torch.inference_mode():
            torch.testing.assert_close(encoder.encode(IMAGES)["backbone"], plain, rtol=1e-5, atol=1e-5)


def test_a_function_of_the_users_is_called_and_its_answer_identifies_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    source = [
        "import pathlib",
        "def encode(x):",
        "    return x.flatten(1)[:, :4] * float(pathlib.Path(__file__).with_name('w').read_text())",
        "def wrong(x):",
        "    return x",
        "def several(x):",
        "    return x.flatten(1), x.flatten(1)",
        "def narrow(x):",
        "    return x.flatten(1)[:, :1]",
        "def named(x):",
        "    return {'pooled': x.flatten(1)}",
        "def complex(x):",
        "    return x.flatten(1) * 1j",
        "def busy(x):",
        "    raise ValueError('my service said 503')",
        "def nothing():",
        "    return None",
    ]
    (tmp_path / "mine_of_test.py").write_text("\n".join(source))
    (tmp_path / "w").write_text("2")
    target = Python(call="mine_of_test:encode")
    torch.testing.assert_close(target.build().encode(IMAGES)["backbone"], 2 * IMAGES.flatten(1)[:, :4])
    parts = target.parts()
    assert target.parts() == parts and target.blank() is None
    (tmp_path / "w").write_text("3")  # weights that the source does not show
    assert target.parts() != parts
    with pytest.raises(InputError, match=r"must answer \[B, D\]"):
        Python(call="mine_of_test:wrong").build().encode(IMAGES)
    for name, said in {
        "several": r"must answer \[B, D\], a vector of two or more real numbers for each image, got tuple",
        "narrow": r"got torch.float32 \[5, 1\] for 5 images",
        "named": "got dict",
        "complex": r"got torch.complex64 \[5, 192\]",
        "busy": r"target.call=mine_of_test:busy failed on images \[5, 3, 8, 8\]: ValueError: my service said 503",
        "nothing": "takes 0 positional arguments",
    }.items():
        with pytest.raises(InputError, match=said):
            Python(call=f"mine_of_test:{name}").build().encode(IMAGES)
    for call, said in (("mine_of_test", "module:function"), ("mine_of_test:no", "finds"), (None, "got nothing")):
        with pytest.raises(InputError, match=said):
            Python(call=call).build()


STRIPES = torch.rand(80, 3, 3, 1, generator=torch.Generator().manual_seed(1))
PHOTOS = STRIPES.repeat_interleave(8, 2).repeat_interleave(24, 3)
"""Of broad stripes, which a crop and a mirror leave."""


def rounded(x: Tensor) -> Tensor:
    """A network made for values of about 1: smaller ones are lost in its rounding, larger ones are cut off."""
    stripes = nn.functional.avg_pool2d(x.view(-1, 3, 24, 24), (8, 24)).flatten(1)
    return (stripes * 8).round().clamp(-24, 24)


HALF = InputRule((0.5,), (0.25,), channels=3)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (HALF, None),
        (InputRule((0.5,), (64.0,), channels=3), "crops if images are fed as "),
        (InputRule((0.0,), (1 / 255,), channels=3), "crops if images are fed as "),
    ],
    ids=["right", "values far too small", "values from 0 to 255"],
)
def test_a_wrong_scale_is_noticed_where_another_one_recognises_more_images(rule: InputRule, said: str | None) -> None:
    encoder = GivenEncoder(Answers(rounded), rule)
    found = misread(encoder, PHOTOS)
    assert encoder.rule is rule
    assert found is None if said is None else found is not None and said in found and "target.normalize" in found
    # Too few images say nothing.
    assert misread(encoder, PHOTOS[:40]) is None


def test_an_encoder_that_recognises_nothing_or_answers_no_numbers_is_accused_of_nothing() -> None:
    noise = torch.rand(80, 5, generator=torch.Generator().manual_seed(2))
    for answer in (lambda x: noise[: len(x)], lambda x: noise[: len(x)] * torch.nan, lambda x: torch.ones(len(x), 3)):
        assert misread(GivenEncoder(Answers(answer), HALF), PHOTOS) is None

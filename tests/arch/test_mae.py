"""MAE's step against Lightly's example on its older decoder; its masks; what it refuses."""

from collections.abc import Callable

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightly.models import utils
from lightly.models.modules import MAEDecoderTIMM, MaskedVisionTransformerTIMM
from slow_step import CONF, TOLERANCE, build, fixed_views
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lpla.contracts.encoder import Arch
from lpla.contracts.inputs import InputError, Views

SMALL = ("backbone.width=16", "backbone.depth=2", "arch.decoder_width=8", "arch.decoder_heads=2")


class LightlysMAE(nn.Module):
    """The documented example: an ordinary timm transformer and MAEDecoderTIMM, for images of 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        vit = VisionTransformer(8, 2, in_chans=3, num_classes=0, embed_dim=16, depth=2, num_heads=4)
        self.backbone = MaskedVisionTransformerTIMM(vit=vit)
        self.sequence_length = self.backbone.sequence_length
        with pytest.deprecated_call(match="MAEDecoderTIMM"):
            self.decoder = MAEDecoderTIMM(16, 2, 3, 16, 8, decoder_depth=2, decoder_num_heads=2)

    def forward(self, images: Tensor, idx_keep: Tensor, idx_mask: Tensor) -> tuple[Tensor, Tensor]:
        x_encoded = self.backbone.encode(images=images, idx_keep=idx_keep)
        x_decode = self.decoder.embed(x_encoded)
        x_masked = utils.repeat_token(self.decoder.mask_token, (len(images), self.sequence_length))
        x_masked = utils.set_at_index(x_masked, idx_keep, x_decode.type_as(x_masked))
        x_decoded = self.decoder.decode(x_masked)
        x_pred = self.decoder.predict(utils.get_at_index(x_decoded, idx_mask))
        return x_pred, utils.get_at_index(utils.patchify(images, 2), idx_mask - 1)


OLD_NAMES = {
    "decoder.pos_embed": "decoder.decoder_pos_embed",
    "decoder.mask_token": "decoder.mask_token",
    "decoder.blocks": "decoder.decoder_blocks",
    "decoder.norm": "decoder.decoder_norm",
    "backbone.net": "backbone",
    "neck": "backbone.vit.norm",
    "embed": "decoder.decoder_embed",
    "predict": "decoder.decoder_pred",
}


def lightlys(name: str) -> str:
    """Lightly's name for a parameter of ours."""
    ours = next(prefix for prefix in OLD_NAMES if name.startswith(prefix))
    return OLD_NAMES[ours] + name.removeprefix(ours)


@pytest.fixture
def masks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Tensor]]:
    """Every mask that is drawn, as Lightly draws it."""
    drawn: list[tuple[Tensor, Tensor]] = []
    draw: Callable[..., tuple[Tensor, Tensor]] = utils.random_token_mask

    def record(*args: object, **kwargs: object) -> tuple[Tensor, Tensor]:
        drawn.append(draw(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(utils, "random_token_mask", record)
    return drawn


@pytest.mark.parametrize("normalize", [False, True])
def test_a_step_is_lightlys(masks: list[tuple[Tensor, Tensor]], normalize: bool) -> None:
    ours = build("mae", *SMALL, f"arch.normalize_target={normalize}").double()
    (images,) = fixed_views(8)
    got = ours.loss([images], 0.0)
    ((shown, hidden),) = masks
    assert shown.shape == (6, 5) and hidden.shape == (6, 12)
    example = LightlysMAE().double()
    theirs = {lightlys(name): p.detach().clone() for name, p in ours.named_parameters()}
    example.load_state_dict(theirs)
    predictions, targets = example(images, shown, hidden)
    if normalize:
        targets = (targets - targets.mean(-1, keepdim=True)) / (targets.var(-1, keepdim=True) + 1e-6).sqrt()
    expected = nn.MSELoss()(predictions, targets)
    torch.testing.assert_close(got, expected, rtol=0, atol=TOLERANCE)
    got.backward()
    expected.backward()
    for name, parameter in ours.named_parameters():
        gradient = example.get_parameter(lightlys(name)).grad
        assert (gradient is None) == (parameter.grad is None), name
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=TOLERANCE)


def masks_of(arch: Arch, masks: list[tuple[Tensor, Tensor]], *progress: float) -> list[Tensor]:
    masks.clear()
    for p in progress:
        arch.loss(fixed_views(8), p)
    return [hidden for _, hidden in masks]


def test_masks_follow_from_seed_and_progress_alone(masks: list[tuple[Tensor, Tensor]]) -> None:
    ours = build("mae", *SMALL).double()
    torch.manual_seed(1)
    first, second = masks_of(ours, masks, 0.1, 0.2)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = masks_of(ours, masks, 0.1, 0.2)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first, again) and torch.equal(second, other) and not torch.equal(first, second)
    (elsewhere,) = masks_of(build("mae", *SMALL, seed=1).double(), masks, 0.1)
    assert not torch.equal(first, elsewhere)


def test_every_patch_is_hidden_equally_often(masks: list[tuple[Tensor, Tensor]]) -> None:
    ours = build("mae", *SMALL).double()
    hidden = torch.cat(masks_of(ours, masks, *torch.linspace(0, 0.99, 100).tolist()))
    share = torch.bincount(hidden.flatten(), minlength=17) / len(hidden)
    assert share[0] == 0
    assert (share[1:] - 0.75).abs().max() < 5 * (0.75 * 0.25 / len(hidden)) ** 0.5


def test_images_of_another_size_are_reconstructed_too() -> None:
    ours = build("mae", *SMALL).double()
    assert ours.loss(fixed_views(16), 0.0).isfinite()
    assert ours.encode(fixed_views(32)[0])["backbone"].shape == (6, 16)


def test_a_resnet_is_refused_in_one_sentence() -> None:
    expected = r"^arch=mae needs a vision transformer \(backbone=vit_tiny, .*\), got CifarResNet$"
    with pytest.raises(InputError, match=expected):
        build("mae", "backbone=resnet9")


def test_it_brings_a_transformer_unless_the_command_line_names_a_backbone() -> None:
    def chosen(*overrides: str) -> str:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", list(overrides), return_hydra_config=True)
        return config.hydra.runtime.choices.backbone

    assert chosen() == "resnet9"
    assert chosen("arch=mae") == "vit_micro"
    assert chosen("arch=mae", "backbone=vit_small") == chosen("backbone=vit_small", "arch=mae") == "vit_small"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("arch.mask_ratio=1.0", "arch.mask_ratio must be a number between 0 and 1, got 1.0"),
        ("backbone.patch_size=1", "arch.normalize_target must be false for patches of a single value"),
    ],
)
def test_settings_that_cannot_work(override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build("mae", override, channels=1)


def test_one_view_of_crops_and_flips_alone() -> None:
    base = Views(crop_scale=(0.2, 1.0), flip=0.5, jitter=0.8, brightness=0.4, grayscale=0.2, blur=0.5)
    (view,) = build("mae").views(base)
    assert (view.crop_scale, view.flip) == ((0.2, 1.0), 0.5)
    assert view.jitter == view.grayscale == view.blur == 0
    assert build("mae", "arch.colour=true").views(base) == (base,)

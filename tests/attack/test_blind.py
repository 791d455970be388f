"""Blind: finds a broken split, and nothing in a sound one."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lpla.attacks.attack.blind import Blind
from lpla.attacks.planted import bright_rows, given, layout, null_error, pixels_of
from lpla.contracts.evidence import Labelled, Seen
from lpla.contracts.inputs import InputError
from lpla.data.pixels import summaries

IMAGES = 1000


def setting(inside: np.ndarray, pixels: np.ndarray) -> tuple[Seen, list[Labelled], np.ndarray]:
    return given(Blind(), [None] * len(inside), inside, pixels)  # pyright: ignore[reportArgumentType]


def test_asks_nothing_of_any_encoder() -> None:
    assert Blind().statistics() == () and Blind().looks_at_pixels()


@pytest.mark.parametrize("strength", [0.5, -0.5])
def test_finds_brighter_members(strength: float) -> None:
    pixels = pixels_of(0, IMAGES)
    target, shadows, member = setting(bright_rows(1, 5, pixels, strength), pixels)
    scores = Blind().fit(shadows).score(target)
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)
    brightness = pixels.mean(axis=(1, 2, 3)) * np.sign(strength)
    assert abs(roc_auc_score(member, scores) - roc_auc_score(member, brightness)) < null_error(member)


@pytest.mark.parametrize("seed", range(3))
def test_a_sound_split_gives_no_auc(seed: int) -> None:
    random = np.random.default_rng(seed)
    inside = np.stack([random.permutation(IMAGES) < IMAGES // 2 for _ in range(4)])
    target, shadows, member = setting(inside, pixels_of(seed, IMAGES))
    assert abs(roc_auc_score(member, Blind().fit(shadows).score(target)) - 0.5) < 3 * null_error(member)


def test_complementary_shadows_teach_nothing_and_it_is_said() -> None:
    target, shadows, _ = setting(layout(0, 4, IMAGES), pixels_of(0, IMAGES))
    method = Blind().fit(shadows)
    assert len(set(method.score(target))) == 1
    assert "scores are ties" in " ".join(method.warnings())
    pixels = pixels_of(0, IMAGES)
    _, shadows, _ = setting(bright_rows(1, 5, pixels), pixels)
    assert "scores are ties" not in " ".join(Blind().fit(shadows).warnings())


def test_the_score_is_linear_in_the_summaries() -> None:
    pixels = pixels_of(0, IMAGES)
    target, shadows, _ = setting(bright_rows(1, 5, pixels, 0.5), pixels)
    scores = Blind().fit(shadows).score(target)
    x = summaries(pixels)
    design = np.column_stack([np.ones(IMAGES), (x - x.mean(axis=0)) / x.std(axis=0)])
    fitted = design @ np.linalg.lstsq(design, scores, rcond=None)[0]
    np.testing.assert_allclose(scores, fitted, atol=1e-6 * np.ptp(scores))


def test_images_are_looked_at_anew_when_they_are_others() -> None:
    pixels = pixels_of(0, IMAGES)
    target, shadows, _ = setting(bright_rows(1, 5, pixels), pixels)
    method = Blind().fit(shadows)
    plain = method.score(target)
    assert np.array_equal(method.score(replace(target, pixels=pixels[::-1].copy())), plain[::-1])


def test_pixels_are_needed() -> None:
    target, shadows, _ = setting(bright_rows(1, 5, pixels_of(0, IMAGES)), pixels_of(0, IMAGES))
    with pytest.raises(InputError, match="attack=blind needs the images' pixels, got none"):
        Blind().fit([replace(one, pixels=None) for one in shadows])
    with pytest.raises(InputError, match="attack=blind needs the images' pixels, got none"):
        Blind().fit(shadows).score(replace(target, pixels=None))

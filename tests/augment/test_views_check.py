"""Every impossible specification is refused by one sentence that names the setting."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from lpla.contracts.inputs import InputError, Views
from lpla.data.augment.apply import check

REFUSED = [
    (
        {"crop_scale": (0.0, 1.0)},
        "crop_scale must be two numbers in ascending order, each a number > 0 and at most 1, got (0.0, 1.0)",
    ),
    (
        {"crop_scale": (0.5, 0.2)},
        "crop_scale must be two numbers in ascending order, each a number > 0 and at most 1, got (0.5, 0.2)",
    ),
    (
        {"crop_scale": (0.5, 1.2)},
        "crop_scale must be two numbers in ascending order, each a number > 0 and at most 1, got (0.5, 1.2)",
    ),
    (
        {"crop_scale": (nan, 1.0)},
        "crop_scale must be two numbers in ascending order, each a number > 0 and at most 1, got (nan, 1.0)",
    ),
    (
        {"crop_ratio": (1.3, 0.7)},
        "crop_ratio must be two numbers in ascending order, each a number > 0, got (1.3, 0.7)",
    ),
    (
        {"crop_ratio": (1.0, inf)},
        "crop_ratio must be two numbers in ascending order, each a number > 0, got (1.0, inf)",
    ),
    (
        {"blur_sigma": (0.0, 2.0)},
        "blur_sigma must be two numbers in ascending order, each a number > 0, got (0.0, 2.0)",
    ),
    ({"flip": -0.1}, "flip must be a number from 0 to 1, got -0.1"),
    ({"jitter": 1.5}, "jitter must be a number from 0 to 1, got 1.5"),
    ({"grayscale": nan}, "grayscale must be a number from 0 to 1, got nan"),
    ({"blur": 2}, "blur must be a number from 0 to 1, got 2"),
    ({"brightness": -0.4}, "brightness must be a number >= 0, got -0.4"),
    ({"contrast": inf}, "contrast must be a number >= 0, got inf"),
    ({"hue": 0.6}, "hue must be a number from 0 to 0.5, got 0.6"),
    ({"size": 0}, "size must be an integer from 1 to 1000000 or null, got 0"),
    ({"size": 1, "blur": 0.5}, "blur must be 0 for views with a side of 1 pixel, got 0.5"),
]


@pytest.mark.parametrize(("settings", "sentence"), REFUSED)
def test_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        check(Views(**settings), 3, 32, 32)
    assert str(error.value) == sentence


@pytest.mark.parametrize("name", ["saturation", "hue", "grayscale"])
def test_colour_of_greyscale_images_is_refused(name: str) -> None:
    settings: dict[str, Any] = {name: 0.4}
    with pytest.raises(InputError) as error:
        check(Views(**settings), 1, 8, 8)
    assert str(error.value) == f"{name} must be 0 for images of 1 channel, got 0.4"


def test_contrast_needs_a_known_grey() -> None:
    with pytest.raises(InputError, match="contrast must be 0 for images of 2 channels"):
        check(Views(contrast=0.4), 2, 8, 8)


def test_accepted() -> None:
    check(Views(), 7, 1, 1)
    check(Views(jitter=1.0, brightness=2.0, contrast=0.4, blur=1.0), 1, 8, 8)
    check(Views(crop_scale=(0.08, 1.0), crop_ratio=(0.75, 4 / 3), saturation=0.4, hue=0.5, size=32), 3, 32, 32)

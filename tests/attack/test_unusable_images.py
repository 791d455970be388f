"""What a bank and a network make of images that lack a statistic: no extremes, no evidence that nobody gave."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from lpla.attacks.attack import _network
from lpla.attacks.attack._bank_columns import CompletedColumns, WeighedBank
from lpla.attacks.attack._fewer_pairs import completed
from lpla.attacks.attack._scalar import ScalarAttack
from lpla.attacks.attack._training import Training
from lpla.attacks.attack.alignment import Alignment
from lpla.attacks.attack.bank import Bank
from lpla.attacks.attack.encodermi_s import EncoderMIS
from lpla.attacks.attack.encodermi_t import EncoderMIT
from lpla.attacks.attack.encodermi_v import EncoderMIV
from lpla.attacks.attack.log_angle import LogAngle
from lpla.attacks.planted import answers, given, layout
from lpla.contracts.evidence import Attack, Labelled, Seen
from lpla.extraction.statistic.whitened import Whitened

IMAGES, SHADOWS = 400, 8
PAIRS = [(i, j) for j in range(4) for i in range(j)]
MAKE: dict[str, Callable[[], Bank]] = {
    "each alone": lambda: Bank(queries=4),
    "collective": lambda: Bank(queries=4, collective=True),
}
ONLY_THIS_OFTEN = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
"""Of 5 audits with 40 such images each: 5 %, and three standard errors."""


def audit(
    attack: Attack, seed: int, views: slice | None = None, leak: float = 0.0
) -> tuple[Seen, list[Labelled], np.ndarray]:
    """Answers without a leak, and 40 images whose `views` the target answers with nan."""
    inside = layout(seed, SHADOWS, IMAGES)
    some = np.random.default_rng(seed).permutation(IMAGES)[:40]
    embedded = answers(seed + 50, inside)
    if views is not None:
        embedded[0][some, views] = math.nan
    target, shadows, _ = given(attack, embedded, inside)
    values = {one.name: one.prefix(target.values[one.name], 4) for one in attack.statistics()}
    known = [
        replace(shadow, values={one.name: one.prefix(shadow.values[one.name], 4) for one in attack.statistics()})
        for shadow in shadows
    ]
    return replace(target, values=values), known, some


def in_top(score: np.ndarray, some: np.ndarray) -> float:
    """Part of some images among the highest 5 % of the others."""
    assert np.isfinite(score).all()
    return float(np.mean(score[some] > np.quantile(np.delete(score, some), 0.95)))


@pytest.mark.parametrize("name", MAKE)
def test_a_statistic_that_an_image_lacks_is_at_the_images_own_level(name: str) -> None:
    """It was 0, the middle of all images, which is far from the image's own level."""
    top = []
    for seed in range(5):
        attack = MAKE[name]()
        target, shadows, some = audit(attack, seed)
        white = target.values[Whitened.name].copy()
        white[some] = np.nan
        score = attack.fit(shadows).score(replace(target, values={**target.values, Whitened.name: white}))
        top.append(in_top(score, some))
    assert np.mean(top) <= ONLY_THIS_OFTEN


@pytest.mark.parametrize("views", [slice(2, None), slice(1, None), slice(1)])
def test_an_image_with_fewer_usable_views_is_no_extreme(views: slice) -> None:
    """With half of the views 13 % of such images were in the top 5 %, as their spread was taken for all views'."""
    top = []
    for seed in range(5):
        attack = Bank(queries=4)
        target, shadows, some = audit(attack, seed, views)
        top.append(in_top(attack.fit(shadows).score(target), some))
    assert np.mean(top) <= ONLY_THIS_OFTEN


OF_PAIRS: dict[str, Callable[[], ScalarAttack]] = {
    "alignment": Alignment,
    "log_angle": LogAngle,
    "encodermi_t": EncoderMIT,
    "encodermi_t by hier": lambda: EncoderMIT(likelihood="hier"),
}


@pytest.mark.parametrize("name", OF_PAIRS)
def test_an_image_with_fewer_pairs_is_no_extreme(name: str) -> None:
    """A mean over fewer pairs varies more: with half of the views 8 to 10 % of such images were in the top 5 %."""
    top = []
    for seed in range(20):
        attack = OF_PAIRS[name]()
        target, shadows, some = audit(attack, seed)
        cosines = target.values["cosine"].copy()
        for image in some:
            # Of views 0 to 3 the clean one and another are left: one pair of six.
            gone = np.random.default_rng([seed, image]).permutation([1, 2, 3])[:2]
            cosines[image, [i for i, pair in enumerate(PAIRS) if {*pair} & {*gone}]] = np.nan
        top.append(in_top(attack.fit(shadows).score(replace(target, values={"cosine": cosines})), some))
    assert np.mean(top) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)


def test_what_is_said_of_fewer_pairs_is_a_regression_about_the_level_of_the_same_pairs() -> None:
    attack = EncoderMIT()
    target, shadows, _ = audit(attack, 3)
    own, others = target.values["cosine"].astype(float), [one.values["cosine"].astype(float) for one in shadows]
    lacking = own.copy()
    lacking[7, 2:] = np.nan
    scale = [(x.mean(axis=1)[np.arange(IMAGES) != 7 if x is own else slice(None)]) for x in (own, *others)]
    z = [(x - s.mean()) / s.std() for x, s in zip((own, *others), scale, strict=True)]
    level, of_two = (np.mean([x[:, :count].mean(axis=1) for x in z[1:]], axis=0) for count in (6, 2))
    rest = np.arange(IMAGES) != 7
    x, y = z[0][:, :2].mean(axis=1) - of_two, z[0].mean(axis=1) - level
    slope, at_0 = np.polyfit(x[rest], y[rest], 1)
    expected = (level[7] + at_0 + slope * x[7]) * scale[0].std() + scale[0].mean()
    found = completed(lacking, others)
    assert 0 < slope < 1 and found[7] == pytest.approx(expected)
    assert np.array_equal(found[rest], own.mean(axis=1)[rest]) and np.array_equal(completed(own, others), own.mean(1))
    # Without other encoders the level is that of all images; and of too few images nothing is learnt.
    slope, at_0 = np.polyfit(own[rest, :2].mean(axis=1), own[rest].mean(axis=1), 1)
    assert completed(lacking, [])[7] == pytest.approx(at_0 + slope * own[7, :2].mean())
    assert completed(lacking[5:9], [])[2] == pytest.approx(own[7, :2].mean())
    assert np.isnan(completed(np.full((20, 6), np.nan), [])).all()


def test_a_shadow_that_says_nothing_of_an_image_is_left_out_of_it() -> None:
    """Its statistics were 0, the middle of all images, and were taken for what the shadow said."""
    attack = Bank(queries=4)
    _, shadows, _ = audit(attack, 0)
    silent = {name: value.copy() for name, value in shadows[0].values.items()}
    for value in silent.values():
        value[5] = np.nan
    shadows[0] = replace(shadows[0], values=silent)
    weighed = WeighedBank(attack._columns).fit(shadows, "hier")
    said = np.isfinite(np.concatenate([weighed.scalars(one) for one in shadows], axis=1))
    assert not said[5, 0] and said.sum() == said.size - 1


def test_pairs_of_which_no_other_encoder_knows_the_whole_images_keep_their_mean() -> None:
    """Nothing was left to learn from, and images with known pairs were lost as nan."""
    random, lacking = np.random.default_rng(0), np.arange(40) < 20
    own, other = random.normal(size=(2, 40, 6))
    own[lacking, 0], other[~lacking] = np.nan, np.nan
    assert np.array_equal(completed(own, [other]), np.nanmean(own, axis=1))
    other[38:] = random.normal(size=(2, 6))
    assert np.array_equal(completed(own, [other]), np.nanmean(own, axis=1)), "two images teach no slope"


def test_what_is_completed_is_the_regression_on_what_is_there() -> None:
    """Against scikit-learn's least squares on the shadows' complete rows, less each image's level."""
    attack = Bank(queries=4)
    target, shadows, _ = audit(attack, 0)
    columns = CompletedColumns(attack._columns)
    x, silent = columns.fit(shadows, own_levels=True)
    assert not silent.any() and np.array_equal(x, np.stack([attack._columns.features(one) for one in shadows]))
    level, norms = x.mean(axis=0), target.values["log_norm"].copy()
    norms[7] = np.nan
    lacking = replace(target, values={**target.values, "log_norm": norms})
    own = attack._columns.features(lacking)[7]
    there = np.isfinite(own)
    assert 0 < there.sum() < len(there)
    about = (x - level).reshape(-1, len(there))
    fitted = LinearRegression(fit_intercept=False).fit(about[:, there], about[:, ~there])
    expected = level[7, ~there] + fitted.predict((own - level[7])[None, there])[0]
    found, _ = columns.of(lacking)
    np.testing.assert_allclose(found[7, ~there], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[7, there], own[there])


NETWORKS = {"vector": EncoderMIV, "set": EncoderMIS}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_learns_nothing_of_an_image_without_features(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was given the mean of all features where an unusable image was, as a member or as none."""
    attack, shown = NETWORKS[kind](training=Training(epochs=1, device="cpu")), []
    _, shadows, some = audit(attack, 0)
    spoilt = {name: value.copy() for name, value in shadows[0].values.items()}
    for value in spoilt.values():
        value[some] = np.nan

    def look(net: Any, learnt: Any, held: Any, training: Any) -> int:
        shown.extend(len(part) for part in (*learnt, *held))
        return 0

    monkeypatch.setattr(_network, "train_network", look)
    attack.fit([replace(shadows[0], values=spoilt), *shadows[1:]])
    assert shown[0] == shown[1] and shown[2] == shown[3] and shown[0] + shown[2] == SHADOWS * IMAGES - len(some)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_scores_an_image_without_features_in_the_middle(kind: str) -> None:
    """The network's own answer to mean features stood among its highest 8 %."""
    attack = NETWORKS[kind](training=Training(epochs=3, device="cpu"))
    target, shadows, some = audit(attack, 0, slice(None))
    score = attack.fit(shadows).score(target)
    above = np.mean(np.delete(score, some) > score[some[0]])
    assert len(set(score[some])) == 1 and 0.3 < above < 0.7
    assert np.array_equal(attack.score(target.part(some)), score[some])

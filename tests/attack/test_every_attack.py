"""What every attack owes, as it is configured: it finds a plain leak, sees none where none is, and knows no label.

An attack joins by its yaml. One whose statistic is made of a backbone's map has no vectors to be given here.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from planted import answers, bright_rows, given, layout, null_error, pixels_of
from sklearn.metrics import roc_auc_score

from lpla.contracts.evidence import Attack, Labelled, Query, Seen
from lpla.contracts.inputs import UndefinedError, Views
from lpla.work.recipe import plug_in

CONF = Path(__file__).parents[2] / "conf"
IMAGES, SHADOWS, QUERIES = 600, 8, 4
LEAK = (0.6, 0.4, 1.0)
"""Of length, steadiness and place, as in `planted.answers`."""


def configured(name: str, queries: int = QUERIES) -> Attack:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"attack={name}", f"queries={queries}"])
    return plug_in(OmegaConf.to_container(config, resolve=True)["attack"])  # pyright: ignore


def asks_for_positions(name: str) -> bool:
    """Whether it looks at a backbone's map; such an attack is tested with its statistic."""
    full_query = Query(Views(), QUERIES, 0)
    return any(statistic.query(full_query, 32).positions for statistic in configured(name).statistics())


NAMES = [file.stem for file in sorted((CONF / "attack").glob("*.yaml")) if not asks_for_positions(file.stem)]


def setting(attack: Attack, seed: int, leak: bool, queries: int = QUERIES) -> tuple[Seen, list[Labelled], np.ndarray]:
    """Every kind of leak at once; for an attack that asks nothing, of the pixels."""
    pixels, inside = pixels_of(seed, IMAGES), layout(seed, SHADOWS, IMAGES)
    if not attack.statistics():
        inside = bright_rows(seed + 10, SHADOWS + 1, pixels, strength=1.0 if leak else 0.0)
    length, steady, shift = LEAK if leak else (0.0, 0.0, 0.0)
    embedded = answers(seed + 50, inside, queries, length, steady, shift)
    return given(attack, embedded, inside, pixels if attack.looks_at_pixels() else None)


@pytest.mark.parametrize("name", NAMES)
def test_finds_a_plain_leak(name: str) -> None:
    attack = configured(name)
    target, shadows, member = setting(attack, 0, leak=True)
    scores = attack.fit(shadows).score(target)
    assert scores.shape == (IMAGES,) and np.isfinite(scores).all()
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)
    assert np.isfinite(attack.threshold_)


@pytest.mark.parametrize("name", NAMES)
def test_sees_no_leak_where_there_is_none(name: str) -> None:
    attack = configured(name)
    target, shadows, member = setting(attack, 1, leak=False)
    assert abs(roc_auc_score(member, attack.fit(shadows).score(target)) - 0.5) < 3 * null_error(member)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_shadows_give_the_same_bits(name: str) -> None:
    attack, again = configured(name), configured(name)
    target, shadows, _ = setting(attack, 2, leak=True)
    scores = attack.fit(shadows).score(target)
    assert np.array_equal(again.fit(shadows).score(target), scores)
    # Nor does a second fit remember the first.
    assert np.array_equal(again.fit(shadows).score(target), scores)
    assert (again.threshold_, again.fit_summary(), again.warnings()) == (
        attack.threshold_,
        attack.fit_summary(),
        attack.warnings(),
    )


@pytest.mark.parametrize("name", NAMES)
def test_labels_of_the_target_cannot_reach_its_scores(name: str) -> None:
    attack = configured(name)
    target, shadows, member = setting(attack, 2, leak=True)
    plain, threshold = attack.fit(shadows).score(target), attack.threshold_
    for labels in (member, ~member):
        labelled = Labelled(target.index, target.values, labels, pixels=target.pixels)
        assert np.array_equal(attack.score(labelled), plain)
    assert attack.threshold_ == threshold


@pytest.mark.parametrize("name", NAMES)
def test_shadow_scores_are_of_the_shadows_and_explain_the_threshold(name: str) -> None:
    attack = configured(name)
    _, shadows, _ = setting(attack, 0, leak=True)
    known = attack.fit(shadows).shadow_scores_
    assert known is not None
    assert known.score.shape == known.member.shape and np.isfinite(known.score).all()
    assert roc_auc_score(known.member, known.score) > 0.5
    called = known.score >= attack.threshold_
    assert called[known.member].mean() > called[~known.member].mean()


@pytest.mark.parametrize("name", NAMES)
def test_one_view_gives_a_result_or_is_undefined(name: str) -> None:
    attack = configured(name, queries=1)
    target, shadows, member = setting(attack, 0, leak=True)

    def first(seen: Seen) -> Seen:
        return replace(seen, values={s.name: s.prefix(seen.values[s.name], 1) for s in attack.statistics()})

    try:
        cut = [first(shadow) for shadow in shadows]
        scores = attack.fit(cut).score(first(target))  # pyright: ignore[reportArgumentType]
    except UndefinedError as undefined:
        assert "queries" in str(undefined)
        return
    assert roc_auc_score(member, scores) > 0.5 + 5 * null_error(member)

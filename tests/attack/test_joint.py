"""All released layers side by side (layer=joint): which columns a bank weighs, who refuses, what a row says."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tiny_audit import TINY, Ran

from lpla.attacks.attack.bank import Bank
from lpla.attacks.attack.encodermi_t import EncoderMIT
from lpla.attacks.attack.lpla import LpLA
from lpla.attacks.likelihood.calibrated import Calibrated
from lpla.attacks.likelihood.combine import LinearRatio
from lpla.attacks.likelihood.standardise import standardise
from lpla.attacks.planted import answers, layout, null_error
from lpla.contracts.evidence import Attack, Labelled, Seen
from lpla.extraction.statistic.whitened import Direction

IMAGES, LAYERS = 300, ("backbone", "projector")


def side_by_side(attack: Attack, inside: np.ndarray, lengths: tuple[float, float]) -> tuple[Seen, list[Labelled]]:
    """Two layers of every encoder, each with noise of its own and a leak of its own size in its norms."""
    embedded = [answers(50 + place, inside, length=length) for place, length in enumerate(lengths)]
    found = []
    for of_layers in zip(*embedded, strict=True):
        values = {}
        for statistic in attack.statistics():
            for layer, one in zip(LAYERS, of_layers, strict=True):
                if statistic.at in (None, layer):
                    name = statistic.name if statistic.at else f"{layer}/{statistic.name}"
                    values[name] = statistic.prefix(statistic(one).numpy(), 4)
        found.append(Seen(np.arange(IMAGES), values))
    return found[0], [Labelled(o.index, o.values, row) for o, row in zip(found[1:], inside[1:], strict=True)]


def test_the_bank_weighs_the_columns_of_both_layers_together() -> None:
    inside, attack = layout(0, 4, IMAGES), Bank(queries=4)
    target, shadows = side_by_side(attack, inside, (0.3, 0.3))

    def columns(seen: Seen) -> np.ndarray:
        """Layer by layer, column by column."""
        found = []
        for layer in LAYERS:
            own = {n.partition("/")[2]: v for n, v in seen.values.items() if n.startswith(layer)}
            found += [standardise(one[:, None]) for one in attack._columns.columns(Seen(seen.index, own))[0].values()]
        return np.nan_to_num(np.hstack(found))

    x = np.stack([columns(one) for one in shadows])
    assert x.shape[2] == 2 * 17
    weighed = LinearRatio(per_sample=True).fit(x, inside[1:])
    alone = Calibrated(likelihood="combined", tie_variance=True, on_one_scale=True)
    alone.fit(shadows, [weighed.project(one)[:, None] for one in x])
    expected = alone.score(target, weighed.project(columns(target))[:, None])
    np.testing.assert_allclose(attack.fit(shadows).score(target), expected, atol=1e-9)


@pytest.mark.parametrize("collective", [False, True])
def test_both_layers_tell_more_than_either_where_each_has_a_leak_of_its_own(collective: bool) -> None:
    inside = layout(1, 8, IMAGES)

    def auc(lengths: tuple[float, float]) -> float:
        attack = Bank(queries=4, collective=collective)
        target, shadows = side_by_side(attack, inside, lengths)
        return float(roc_auc_score(inside[0], attack.fit(shadows).score(target)))

    both, first, second, neither = (auc(one) for one in ((0.25, 0.25), (0.25, 0.0), (0.0, 0.25), (0.0, 0.0)))
    assert both > max(first, second) > 0.5 + 3 * null_error(inside[0])
    assert abs(neither - 0.5) < 3 * null_error(inside[0])


def test_a_view_that_one_layer_lacks_leaves_the_others_columns() -> None:
    inside, attack = layout(2, 4, IMAGES), Bank(queries=4)
    target, shadows = side_by_side(attack, inside, (0.5, 0.5))
    for name, value in target.values.items():
        value[0] = np.nan
        if name.startswith("backbone"):
            value[1] = np.nan
    scores = attack.fit(shadows).score(target)
    assert np.isfinite(scores).all() and scores[0] == 0 and scores[1] != 0


def test_only_a_bank_looks_at_several_layers() -> None:
    assert Bank().joins_layers() and LpLA(norms="whitened").joins_layers()
    assert not LpLA().joins_layers() and not EncoderMIT().joins_layers()


def test_what_was_seen_of_a_layer_has_its_own_names_and_the_images() -> None:
    values = {f"{layer}/log_norm": np.full((2, 3), float(place)) for place, layer in enumerate(LAYERS)}
    seen = Seen(np.array([4, 7]), values | {Direction.name: np.zeros((2, 5))}, foreign=True)
    parts = seen.by_layer()
    assert list(parts) == list(LAYERS) and all(part.foreign for part in parts.values())
    assert [part.values["log_norm"][0, 0] for part in parts.values()] == [0, 1]
    assert all(list(part.values) == ["log_norm"] and part.index.tolist() == [4, 7] for part in parts.values())
    alone = Seen(seen.index, {"log_norm": torch.zeros(2, 3).numpy()})
    assert alone.by_layer() == {"": alone}


def test_a_bank_has_a_joint_row_beside_those_of_the_layers(cli: Callable[..., Ran], tiny_store: str) -> None:
    ran = cli(*TINY, tiny_store, "attack=lpla", "attack.norms=whitened")
    assert ran.code == 0
    rows = json.loads((ran.folder / "result.json").read_text())
    assert [row["layer"] for row in rows] == ["backbone", "projector", "joint"]
    assert all(row["auc"] is not None and row["null_untrained_auc"] is not None for row in rows)
    assert rows[2]["knn_accuracy"] is None and "utility needs" not in " ".join(rows[2]["notes"])
    assert rows[2]["target_queries"] == rows[0]["target_queries"]
    with np.load(ran.folder / "scores.npz") as held:
        assert held["layer"].tolist() == ["backbone", "projector", "joint"]
        assert np.isfinite(held["score"]).all() and np.isnan(held["log_norm"][2]).all()


def test_an_attack_of_one_number_has_a_joint_row_on_request_alone_which_says_why(
    cli: Callable[..., Ran], tiny_store: str
) -> None:
    ran = cli(*TINY, tiny_store, "layer=joint")
    (row,) = json.loads((ran.folder / "result.json").read_text())
    assert row["auc"] is None and row["layer"] == "joint"
    assert row["notes"] == [
        "attack=lpla, joint: layer=joint needs an attack that weighs many statistics, and this attack uses one"
    ]


def test_an_encoder_of_one_layer_has_none_to_join(cli: Callable[..., Ran]) -> None:
    overrides = [one for one in TINY if not one.startswith(("arch.", "backbone."))]
    ran = cli(*overrides, "arch=mae", "epochs=10", "attack=bank", "layer=joint")
    assert ran.code == 1 and "layer must be one of backbone or both, got joint" in ran.out

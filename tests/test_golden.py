"""The whole chain on real scans: an overfitted encoder is found out, an untrained one is not."""

import json
from collections.abc import Callable

from tiny_audit import Ran

# 40 members, 150 epochs: an overfitted regime on purpose. On other seeds the interval's lower bound was .61 to .71.
OVERFITTED = ["members=40", "epochs=150", "train.batch_size=40", "backbone.width=0.125", "arch.hidden_dim=64"]
OVERFITTED += ["arch.output_dim=32", "shadows=6", "utility.images=200", "permutations=5", "layer=projector", "seed=7"]


def test_an_overfitted_encoder_leaks_and_its_nulls_do_not(cli: Callable[..., Ran]) -> None:
    ran = cli(*OVERFITTED)
    (row,) = json.loads((ran.folder / "result.json").read_text())
    assert row["likelihood"] == "combined"
    assert row["auc_low"] > 0.5
    # Three standard errors of an AUC without signal, 40 against 40.
    assert abs(row["null_untrained_auc"] - 0.5) < 3 * 0.065
    assert abs(row["blind_auc"] - 0.5) < 3 * 0.065
    assert abs(row["null_permuted_auc"] - 0.5) < 0.1
    assert row["knn_accuracy"] > 0.5


def test_an_untrained_encoder_does_not_leak(cli: Callable[..., Ran]) -> None:
    ran = cli(*OVERFITTED, "epochs=0", "members=100")
    (row,) = json.loads((ran.folder / "result.json").read_text())
    assert row["auc_low"] < 0.5 < row["auc_high"]

"""The workspace and the sweep for W&B, built offline: they name figures that a run logs and settings that we have."""

import json
import os
from itertools import product
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from experiments import wandb_dashboard
from lpla.contracts.result import AuditResult, columns

ROOT = Path(__file__).parents[2]


def panels() -> dict[str, list[dict]]:
    view = json.loads(wandb_dashboard.workspace("team", "lpla", "projector")._to_model().model_dump_json(by_alias=True))
    assert (view["entity"], view["project"]) == ("team", "lpla")
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: [p | p["config"] for p in section["panels"]] for section in sections}


def test_the_workspace_has_the_panels_it_promises() -> None:
    found = panels()
    tradeoff, bars = found["Leak"]
    assert (tradeoff["xAxis"], tradeoff["yAxis"]) == ("summary:projector/knn_accuracy", "summary:projector/auc")
    assert bars["metrics"] == ["projector/auc"] and bars["groupBy"] == "arch_and_p.value"
    assert {(one["xAxis"], one["yAxis"]) for one in found["Query budget"]} == {
        ("config:queries.value", "summary:projector/auc"),
        ("config:queries.value", "summary:projector/tpr_at_1pct"),
    }
    assert {one["metrics"][0] for one in found["Nulls"]} == {
        f"projector/{name}" for name in ("auc", *(n for n in columns("null", headed=True) if n.endswith("auc")))
    }
    assert [one["metrics"] for one in found["Leak over training"]] == [["projector/auc"], ["projector/knn_accuracy"]]
    (roc,) = found["ROC"]
    assert (roc["xAxis"], roc["metrics"]) == ("roc/projector/fpr", ["roc/projector/tpr"])
    assert roc["xLogScale"] and roc["yLogScale"]


def test_every_figure_on_an_axis_is_one_that_an_audit_logs() -> None:
    logged = {f"projector/{name}" for name in AuditResult.__dataclass_fields__}
    logged |= {"roc/projector/fpr", "roc/projector/tpr", "trainer/global_step"}
    shown = [p for section in panels().values() for p in section]
    axes = [p.get(axis) or "" for p, axis in product(shown, ("xAxis", "yAxis"))]
    names = [axis.removeprefix("summary:") for axis in axes if axis and not axis.startswith("config:")]
    names += [metric for p in shown for metric in p.get("metrics") or []]
    assert len(names) >= 10 and set(names) <= logged


def test_without_a_key_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(SystemExit, match="needs an API key"):
        wandb_dashboard.main(["team"])


def test_whatever_the_agent_chooses_is_a_configuration_of_ours() -> None:
    sweep = yaml.safe_load((ROOT / "experiments" / "wandb_sweep.yaml").read_text())
    assert (ROOT / sweep["program"]).is_file() and sweep["command"][-1] == "${args_no_hyphens}"
    (fixed,) = [word for word in sweep["command"] if "=" in word]
    layer, figure = sweep["metric"]["name"].split("/")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for name, choice in sweep["parameters"].items():
            for value in choice["values"]:
                config = compose("config", [fixed, f"{name}={value}"])
                assert config.logger._target_.endswith("WandbLogger") and config.layer == layer
    assert figure in AuditResult.__dataclass_fields__

"""The W&B workspace of a project of audits: trade-off, leak over training, query budgets, nulls, ROC.

`python -m experiments.wandb_dashboard ENTITY [--project lpla] [--layer backbone]` saves it as a view of the project;
the jobs of `logger=wandb` fill it. It needs the network and an API key.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from lpla.contracts.result import columns


def workspace(entity: str, project: str, layer: str) -> ws.Workspace:
    """The view, not saved: sections on leak, budget, ROC and training at one layer; audits first, trainings last."""
    sections = [_leak(layer), _along(layer), _budget(layer), _nulls(layer), _roc(layer), _training()]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"Leak at the {layer}",
        sections=sections,
        # ROC's x axis is a rate, not a step: panels name their own.
        settings=ws.WorkspaceSettings(max_runs=100),
        runset_settings=ws.RunsetSettings(order=[ws.Ordering(ws.Summary(f"{layer}/auc"), ascending=False)]),
    )


def _leak(layer: str) -> ws.Section:
    auc = f"{layer}/auc"
    panels = [
        wr.ScatterPlot(
            title="Trade-off: kNN accuracy against AUC",
            x=wr.SummaryMetric(f"{layer}/knn_accuracy"),
            y=wr.SummaryMetric(auc),
            z=wr.Config("epochs"),
            regression=True,
        ),
        wr.BarPlot(
            title="AUC by framework and p", metrics=[auc], groupby=wr.Config("arch_and_p"), groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
        ),
    ]  # fmt: skip
    return _section("Leak", panels)


def _budget(layer: str) -> ws.Section:
    panels = [
        wr.ScatterPlot(
            title=f"Query budget: {title}",
            x=wr.Config("queries"),
            y=wr.SummaryMetric(f"{layer}/{figure}"),
            log_x=True,
            running_ymean=True,
        )
        for figure, title in {"auc": "AUC", "tpr_at_1pct": "TPR at 1 % FPR"}.items()
    ]
    return _section("Query budget", panels)


def _nulls(layer: str) -> ws.Section:
    """The AUCs that must be 0.5, beside the audited one: a bar for each run, and their mean over all runs."""
    names = [name for name in columns("null", headed=True) if name.endswith("auc")]
    panels = [
        wr.BarPlot(title=f"{name} (0.5 expected)", metrics=[f"{layer}/{name}"], range_x=(0, 1), max_runs_to_show=20)
        for name in ("auc", *names)
    ]
    return _section("Nulls", panels)


def _roc(layer: str) -> ws.Section:
    roc = wr.LinePlot(
        title="ROC",
        x=wr.Metric(f"roc/{layer}/fpr"),
        y=[f"roc/{layer}/tpr"],
        log_x=True,
        log_y=True,
        range_y=(1e-3, 1),
        title_x="false-positive rate",
        title_y="true-positive rate",
        max_runs_to_show=20,
    )
    return _section("ROC", [roc])


def _along(layer: str) -> ws.Section:
    panels = [
        wr.LinePlot(title=f"{title} over epochs", x=wr.Metric("trainer/global_step"), y=[f"{layer}/{figure}"])
        for figure, title in {"auc": "AUC", "knn_accuracy": "kNN accuracy"}.items()
    ]
    return _section("Leak over training", panels)


def _training() -> ws.Section:
    loss = wr.LinePlot(title="Loss by epoch", x=wr.Metric("trainer/global_step"), metric_regex="loss/.*")
    return _section("Training", [loss])


def _section(name: str, panels: Sequence[wr.ScatterPlot | wr.BarPlot | wr.LinePlot]) -> ws.Section:
    layout = ws.SectionLayoutSettings(columns=min(2, len(panels)), rows=1)
    return ws.Section(name=name, panels=[*panels], is_open=True, layout_settings=layout)


def main(arguments: list[str] | None = None) -> None:
    """Command line: save the view and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m experiments.wandb_dashboard", description=__doc__)
    parser.add_argument("entity", help="the user or team that owns the project")
    parser.add_argument("--project", default="lpla", help="as in conf/logger/wandb.yaml (default: lpla)")
    parser.add_argument("--layer", default="backbone", choices=("backbone", "projector"))
    options = parser.parse_args(arguments)
    if not wandb.login(prompt=False, verify=False):
        sys.exit("error: the workspace is saved online, which needs an API key: `wandb login`, or set WANDB_API_KEY")
    print(workspace(options.entity, options.project, options.layer).save().url)


if __name__ == "__main__":
    main()

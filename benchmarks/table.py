"""The table, and the machine under it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich import get_console
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.measure import Row
from lpla.report.terminal import print_whole

CAPTION = """
Median (min..max) of {repeats} interleaved repeats (sweeps and growth: at most 3; attacks: 1); a ratio is the median
of those within a repeat. limit: the bare network on resident noise (training: forward and backward; extraction and
service: forward); the sweep's first job alone; the smallest of the growth in proportion to the work; commands:
importing hydra alone, of a job torch. Nothing is asserted.
{cpu}, {cores} cores, load {load:.1f} at the start; torch {torch}, {threads} threads; {gpu}."""


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": processor[1] if processor else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load": os.getloadavg()[0],
    }


def show(rows: Sequence[Row], repeats: int, measured_on: dict[str, Any]) -> None:
    """Print the rows, what the figures are, and the machine."""
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for heading in ("part", "case"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ours", "lightly's", "limit", "/ lightly's", "/ limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("unit", "aim"):
        table.add_column(heading, no_wrap=True)
    part = ""
    for row in rows:
        if row.part != part and part:
            table.add_section()
        name, part = row.part if row.part != part else "", row.part
        figures = [_spread(figures) for figures in (row.ours, row.lightly, row.limit)]
        ratios = [_ratio(row.ratio(other)) for other in ("lightly", "limit")]
        table.add_row(name, row.case, *figures, *ratios, row.unit, row.aim)
    print_whole(table)
    gpu = measured_on["gpu"] or "no GPU: those rows are left out"
    text = CAPTION.format(repeats=repeats, gpu=gpu, **{k: v for k, v in measured_on.items() if k != "gpu"})
    get_console().print(text, highlight=False, soft_wrap=True)


def _spread(figures: Sequence[float] | None) -> str:
    if not figures:
        return ""
    if len(figures) == 1:
        return _number(figures[0])
    return f"{_number(median(figures))} ({_number(min(figures))}..{_number(max(figures))})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"

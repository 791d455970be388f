"""Ours, lightly's path and the limit, side by side: python -m benchmarks [--json FILE] [--repeats N] [PART ...]

Nothing is asserted here: whether the fast parts are right is what the tests ask.
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks import attacks, augmentation, extraction, growth, service, start, sweeps, training
from benchmarks.measure import Row
from benchmarks.sizes import CPU, GPU, SMALLEST, TINY, WHOLE
from benchmarks.table import machine, show

PARTS = ("augmentation", "training", "extraction", "service", "start", "sweeps", "growth", "attacks")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts that are named, or all; print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ours, lightly's path and the limit.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--repeats", type=int, default=5, help="rounds in which all that is compared has its turn")
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--networks", action="store_true", help="also the attacks that train a network, a minute each")
    parser.add_argument("--smallest", action="store_true", help="sizes that show nothing but that every part runs")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {options.repeats}")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightly")
    measured_on = machine()
    rows = [
        row
        for part, measure in measures(options.smallest, options.networks, options.repeats)
        if part in (options.parts or PARTS)
        for row in measure()
    ]
    show(rows, options.repeats, measured_on)
    if options.json:
        found = {"machine": measured_on, "repeats": options.repeats, "rows": [row.record() for row in rows]}
        options.json.write_text(json.dumps(found, indent=1))


def measures(smallest: bool, networks: bool, repeats: int) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """Names of parts and what measures them, on every device."""
    audit = TINY if smallest else WHOLE
    for sizes in [SMALLEST] if smallest else [CPU, GPU] if torch.cuda.is_available() else [CPU]:
        if sizes.device.type == "cpu":
            yield "augmentation", partial(augmentation.rows, sizes, repeats)
        yield "training", partial(training.rows, sizes, repeats)
        yield "extraction", partial(extraction.rows, sizes, repeats)
    yield "service", partial(service.rows, SMALLEST if smallest else CPU, repeats)
    yield "start", partial(start.rows, audit, repeats)
    yield "sweeps", partial(sweeps.rows, audit, repeats)
    yield "growth", partial(growth.rows, audit, repeats)
    names = ("lpla", "bank", "bank collective=true") if smallest else attacks.ALL
    yield "attacks", partial(attacks.rows, names, audit.attack_images, networks)


if __name__ == "__main__":
    main()

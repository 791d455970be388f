"""Seconds and peak memory of attacks' fit and score: python -m benchmarks.attacks ATTACK ...

20,000 images, 16 shadows and a target, 16 views, width 512; statistics lie in memory-mapped files, as in a store.
Each attack has a process of its own, so that the peak (of all resident memory, mapped files included) is its own.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.encoder import ROOT, SIDE, settings_of
from benchmarks.measure import Row
from benchmarks.table import machine, show
from lpla.attacks.attack._network import NetworkAttack
from lpla.contracts.evidence import Attack, Labelled, Query, Seen
from lpla.contracts.inputs import InputError, Views
from lpla.work.plug_in import plug_in

IMAGES, SHADOWS, QUERIES, WIDTH = 20_000, 16, 16, 512
BLOCK = 1_000
"""Images whose statistics are computed; the others repeat them with noise, which takes an attack as long."""
FORMS = ("bank collective=true", "lpla norms=whitened")
"""Attacks by other settings than their defaults."""
ALL = (*sorted({file.stem for file in (ROOT / "conf" / "attack").glob("*.yaml")} - {"all"}), *FORMS)
"""Every attack but the option by which a job runs all of them."""


def rows(names: Sequence[str] = ALL, images: int = IMAGES, networks: bool = True) -> list[Row]:
    """A row per attack, but for attacks on positions and, unless `networks`, those that train a network."""
    found = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in names:
            attack = configured(name)
            full_query = Query(Views(), QUERIES, 0)
            positions = any(statistic.query(full_query, SIDE).positions for statistic in attack.statistics())
            if positions or (isinstance(attack, NetworkAttack) and not networks):
                continue
            prepare(attack, folder, images)
            measured = in_its_own_process(name, folder)
            if measured is None:
                continue
            case = f"{name}, peak {measured['peak_mb']:,.0f} MB"
            found.append(Row("attacks", case, "s", [measured["seconds"]], aim="3 s, 2 GB"))
    return found


def configured(name: str) -> Attack:
    """The attack with the defaults of an audit, or a form of it."""
    option, *settings = name.split()
    given = [f"attack.{setting}" for setting in settings]
    return plug_in(settings_of(f"attack={option}", f"queries={QUERIES}", *given)["attack"])


def layout(images: int) -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs."""
    random = np.random.default_rng(0)
    rows = [random.permutation(images) < images // 2 for _ in range(1 + SHADOWS // 2)]
    return np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])


def prepare(attack: Attack, folder: Path, images: int) -> None:
    """One file per encoder and statistic that is not there yet, and one of pixels; a faint leak in all of them."""
    random = np.random.default_rng(0)
    if not (folder / "pixels.npy").exists():
        smooth = np.kron(random.normal(128, 40, (images, 3, 8, 8)), np.ones((SIDE // 8, SIDE // 8)))
        np.save(folder / "pixels.npy", np.clip(smooth, 0, 255).astype(np.uint8))
    inside = layout(images)
    block = min(BLOCK, images)
    content = torch.from_numpy(random.normal(size=(block, 1, WIDTH)))
    for encoder in range(SHADOWS + 1):
        missing = [s for s in attack.statistics() if not (folder / f"{s.name}_{encoder}.npy").exists()]
        if not missing:
            continue
        embeddings = (content + torch.from_numpy(random.normal(size=(block, QUERIES, WIDTH)))).float()
        for statistic in missing:
            values = statistic.prefix(statistic(embeddings).numpy(), QUERIES)
            full = np.tile(values, (images // block, *[1] * (values.ndim - 1)))
            member = inside[encoder].reshape(-1, *[1] * (values.ndim - 1))
            full += (0.1 * values.std() * (member + random.normal(size=member.shape))).astype(values.dtype)
            np.save(folder / f"{statistic.name}_{encoder}.npy", full)


def in_its_own_process(name: str, folder: Path) -> dict[str, Any] | None:
    """Fit and score there; None for an attack that refuses these statistics."""
    command = [sys.executable, "-m", "benchmarks.attacks", name, "--one", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, folder: Path) -> dict[str, Any] | None:
    """Fit and score once, from the files."""
    attack = configured(name)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r")
    index, inside = np.arange(len(pixels)), layout(len(pixels))
    seen = pixels if attack.looks_at_pixels() else None
    values = [
        {s.name: np.load(folder / f"{s.name}_{encoder}.npy", mmap_mode="r") for s in attack.statistics()}
        for encoder in range(SHADOWS + 1)
    ]
    shadows = [Labelled(index, v, row, pixels=seen) for v, row in zip(values[1:], inside[1:], strict=True)]
    begin = time.perf_counter()
    try:
        attack.fit(shadows).score(Seen(index, values[0], pixels=seen))
    except InputError:
        return None
    seconds = time.perf_counter() - begin
    # Not ru_maxrss, which a child takes over from its parent.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {"seconds": seconds, "peak_mb": int(peak) / 1024}


def main() -> None:
    """Measure the attacks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description="Seconds and peak memory.")
    parser.add_argument("attacks", nargs="*", choices=[*ALL, []], default=ALL, metavar="ATTACK")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.attacks[0], options.one)))
    else:
        show(rows(options.attacks), 1, machine())


if __name__ == "__main__":
    main()

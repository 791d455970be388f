"""Seconds and peak memory of every attack's fit and score: python benchmarks/attacks.py [--json FILE] [ATTACK ...]

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
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from lpla.contracts import InputError, Views
from lpla.evidence import Attack, Labelled, Query, Seen
from lpla.recipe import plug_in

CONF = Path(__file__).parents[1] / "conf"
IMAGES, SHADOWS, QUERIES, WIDTH, SIDE = 20_000, 16, 16, 512, 32
BLOCK = 1_000
"""Images whose statistics are computed; the others repeat them with noise, which takes an attack as long."""


def main() -> None:
    """Measure every attack, or those that are named, and print a table."""
    parser = argparse.ArgumentParser(description="Seconds and peak memory of every attack's fit and score.")
    parser.add_argument("attacks", nargs="*", default=sorted(file.stem for file in (CONF / "attack").glob("*.yaml")))
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.attacks[0], options.one)))
        return
    print(f"{IMAGES} images, {SHADOWS} shadows, {QUERIES} views\n\n{'attack':<16}{'seconds':>9}{'peak MB':>9}")
    rows = []
    with TemporaryDirectory() as folder:
        for name in options.attacks:
            rows.append(in_its_own_process(name, folder))
            row = rows[-1]
            numbers = row.get("skipped") or f"{row['seconds']:>9.2f}{row['peak_mb']:>9.0f}"
            print(f"{name:<16}{numbers}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def in_its_own_process(name: str, folder: str) -> dict[str, Any]:
    """Prepare the statistics here, fit and score there."""
    attack = configured(name)
    asked = Query(Views(), QUERIES, 0)
    if any(statistic.query(asked, SIDE).positions for statistic in attack.statistics()):
        return {"attack": name, "skipped": "  looks at positions"}
    prepare(attack, Path(folder))
    command = [sys.executable, __file__, name, "--one", folder]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def configured(name: str) -> Attack:
    """The attack with the defaults of an audit."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", [f"attack={name}", f"queries={QUERIES}"])
    settings: Any = OmegaConf.to_container(config, resolve=True)
    return plug_in(settings["attack"])


def layout() -> np.ndarray:
    """Row 0 the target, drawn on its own; then complementary pairs."""
    random = np.random.default_rng(0)
    rows = [random.permutation(IMAGES) < IMAGES // 2 for _ in range(1 + SHADOWS // 2)]
    return np.stack([rows[0], *(row for half in rows[1:] for row in (half, ~half))])


def prepare(attack: Attack, folder: Path) -> None:
    """One file per encoder and statistic that is not there yet, and one of pixels; a faint leak in all of them."""
    random = np.random.default_rng(0)
    if not (folder / "pixels.npy").exists():
        smooth = np.kron(random.normal(128, 40, (IMAGES, 3, 8, 8)), np.ones((SIDE // 8, SIDE // 8)))
        np.save(folder / "pixels.npy", np.clip(smooth, 0, 255).astype(np.uint8))
    inside = layout()
    content = torch.from_numpy(random.normal(size=(BLOCK, 1, WIDTH)))
    for encoder in range(SHADOWS + 1):
        missing = [s for s in attack.statistics() if not (folder / f"{s.name}_{encoder}.npy").exists()]
        if not missing:
            continue
        embeddings = (content + torch.from_numpy(random.normal(size=(BLOCK, QUERIES, WIDTH)))).float()
        for statistic in missing:
            block = statistic(embeddings).numpy()
            full = np.tile(block, (IMAGES // BLOCK, *[1] * (block.ndim - 1)))
            member = inside[encoder].reshape(-1, *[1] * (block.ndim - 1))
            full += (0.1 * block.std() * (member + random.normal(size=member.shape))).astype(block.dtype)
            np.save(folder / f"{statistic.name}_{encoder}.npy", full)


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Fit and score once, from the files."""
    attack = configured(name)
    pixels = np.load(folder / "pixels.npy", mmap_mode="r") if attack.looks_at_pixels() else None
    index = np.arange(IMAGES)
    values = [
        {s.name: np.load(folder / f"{s.name}_{encoder}.npy", mmap_mode="r") for s in attack.statistics()}
        for encoder in range(SHADOWS + 1)
    ]
    shadows = [Labelled(index, v, row, pixels=pixels) for v, row in zip(values[1:], layout()[1:], strict=True)]
    begin = time.perf_counter()
    try:
        attack.fit(shadows).score(Seen(index, values[0], pixels=pixels))
    except InputError as impossible:
        return {"attack": name, "skipped": f"  {impossible}"}
    seconds = time.perf_counter() - begin
    # Not ru_maxrss, which a child takes over from its parent.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return {"attack": name, "seconds": seconds, "peak_mb": int(peak) / 1024}


if __name__ == "__main__":
    main()

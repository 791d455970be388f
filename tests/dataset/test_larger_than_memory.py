"""A data set in a memory map is never copied as a whole, nor its pool: a process that may allocate less does it all."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

COUNT, SHAPE = 25_000, (3, 64, 64)
ALLOWED = 100_000_000

SCRIPT = """
import re, resource, sys
from pathlib import Path

import numpy as np
import torch

from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Images, Views
from lpla.data.split.balanced import Balanced
from lpla.extraction.extraction import Extraction
from lpla.extraction.release import Release
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.view_cache import ViewCache

torch.set_num_threads(1)

class Mean(Arch):
    def views(self, base): return ()
    def loss(self, views, progress): return torch.zeros(())
    def encode(self, x): return {"backbone": x.mean(dim=(2, 3))}

def work(images, members):
    drawn = Balanced(near_duplicates="keep_together").draw(images, members, 2, 0)
    query = Query(Views(), 1, 0)
    place = Path(sys.argv[1]).with_name("statistics")
    statistics, kept = [LogNorm((2.0,))], ViewCache(10_000_000)
    extraction = Extraction(
        images.pixels, drawn.index, query, statistics, Release(), kept, 64, place, lambda _: None
    )
    values = extraction.observe(Mean(), torch.device("cpu"))["backbone"].values["log_norm"]
    assert len(values) == 2 * members
    return images.digest

def mapped(count):
    pixels = np.memmap(sys.argv[1], dtype=np.uint8, mode="c", shape=(count, *SHAPE))
    return Images("mapped", torch.from_numpy(pixels), torch.zeros(count, dtype=torch.long))

images = mapped(COUNT)
work(mapped(100), 10)
used = int(re.search(r"VmData:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + ALLOWED, resource.RLIM_INFINITY))
try:
    images.pixels.clone()
    sys.exit("the limit does not hold")
except RuntimeError:
    print(work(images, COUNT // 5))
"""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA covers all allocations on Linux alone")
def test_reading_hashing_drawing_and_observing_copy_pieces_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE), dtype=np.uint8)
    assert pixels.nbytes > 3 * ALLOWED
    pixels.tofile(tmp_path / "pixels.bin")
    script = f"COUNT, SHAPE, ALLOWED = {COUNT}, {SHAPE}, {ALLOWED}\n{SCRIPT}"
    command = [sys.executable, "-c", script, str(tmp_path / "pixels.bin")]
    # Without it glibc keeps what is freed in a fragmented heap, and the limit would be on that.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    whole = hashlib.sha256(repr((COUNT, *SHAPE)).encode() + pixels.tobytes()).hexdigest()
    assert done.stdout.split() == [whole]

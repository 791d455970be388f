"""The peak of an extraction is that of one chunk and of the views that are kept, whatever images x queries is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FEW, MANY, QUERIES, KEPT = 400, 4_000, 16, 4_000_000
ALLOWED = 8_000_000
"""Growth from the few images to the many: the kept views and what the allocator makes of the rest."""

SCRIPT = """
import json, re, sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lpla.contracts.encoder import Arch
from lpla.contracts.evidence import Query, Statistic
from lpla.contracts.inputs import Views
from lpla.extraction.view_cache import ViewCache
from lpla.extraction.extraction import Extraction
from lpla.extraction.release import Release

torch.set_num_threads(1)
queries, kept, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

class Convolution(Arch):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Conv2d(3, 128, 3), torch.nn.BatchNorm2d(128))
    def views(self, base): return ()
    def loss(self, views, progress): return torch.zeros(())
    def encode(self, x): return {"backbone": self.net(x).mean(dim=(2, 3))}

@dataclass(frozen=True)
class Everything(Statistic):
    name = "everything"
    def __call__(self, embeddings): return embeddings
    def prefix(self, values, queries): return values

def peak(images):
    pixels = torch.from_numpy(np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="c", shape=(images, 3, 8, 8)))
    query = Query(Views(flip=0.5, jitter=0.8, brightness=0.4), queries, 0)
    place = folder / str(images)
    one = Extraction(pixels, np.arange(images), query, [Everything()], Release(), ViewCache(kept), 1024, place,
                     lambda _: None)
    one.observe(Convolution(), torch.device("cpu"))
    size = sum(file.stat().st_size for file in place.iterdir())
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024, size

print(json.dumps([peak(int(images)) for images in sys.argv[4:]]))
"""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's")
def test_ten_times_the_images_take_no_more_memory(tmp_path: Path) -> None:
    views = np.random.default_rng(0).integers(0, 256, (MANY, 3, 8, 8), dtype=np.uint8)
    views.tofile(tmp_path / "pixels.bin")
    command = [sys.executable, "-c", SCRIPT, *map(str, (QUERIES, KEPT, tmp_path, FEW, MANY))]
    # Without it glibc keeps what is freed in a fragmented heap.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (few, _), (many, size) = json.loads(done.stdout)
    assert min(size, views.nbytes * 4 * QUERIES) > 3 * ALLOWED
    assert many - few < ALLOWED

"""A given encoder is observed as one that was trained here, through the same extraction, of every kind of file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lpla.contracts.encoder import Target
from lpla.contracts.evidence import Query
from lpla.contracts.inputs import Views
from lpla.encoders.target.checkpoint import Checkpoint
from lpla.encoders.target.exported import Exported
from lpla.extraction.extraction import Extraction
from lpla.extraction.query import query_views
from lpla.extraction.release import Release
from lpla.extraction.statistic.log_norm import LogNorm
from lpla.extraction.view_cache import ViewCache

FILES = Path(__file__).parent / "files"
NARROW: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}
TARGETS: dict[str, Target] = {
    "checkpoint": Checkpoint(
        file=str(FILES / "moco_v2.pth.tar"), arch="timm/resnet18", arguments=NARROW, normalize="imagenet"
    ),
    "exported": Exported(file=str(FILES / "static.pt2"), normalize="half"),
    "torchscript": Exported(file=str(FILES / "script.pt"), run_code=True, normalize="half"),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_its_statistics_are_those_of_its_embeddings(kind: str, tmp_path: Path) -> None:
    encoder = TARGETS[kind].build()
    pixels = torch.randint(0, 256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    query, index = Query(Views(crop_scale=(0.5, 1.0), flip=0.5), 3, 11), np.array([4, 1, 3])
    found = Extraction(
        pixels, index, query, [LogNorm((2.0,))], Release(), ViewCache(0), 64, tmp_path / "observed", lambda _: None
    ).observe(encoder, torch.device("cpu"))
    assert set(found) == set(encoder.layers)
    with torch.inference_mode():
        embeddings = encoder.encode(query_views(pixels[index], torch.from_numpy(index), query))
    for layer, one in embeddings.items():
        expected = (one.square().mean(dim=1).log() / 2).unflatten(0, (3, 3)).T  # per dimension
        np.testing.assert_allclose(found[layer].values["log_norm"][..., 0], expected, rtol=1e-4, atol=1e-4)

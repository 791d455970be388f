"""`lpla serve` audited by target=http, two processes on loopback: the audit of the file itself."""

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serve_process import Server
from test_service_audit import audit
from tiny_audit import scores_of

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "foreign" / "files" / "script.pt"
ITSELF = ["target=exported", f"target.file={SCRIPT}", "target.run_code=true", "target.normalize=half"]
FLIPS = ["crop_scale=[1.0,1.0]", "crop_ratio=[1.0,1.0]", "jitter=0.0", "flip=0.5"]
FLIPS = [f"dataset.query_views.{one}" for one in FLIPS]
"""Views that have 8 bits as they are, so that nothing is rounded where they are sent."""


@pytest.fixture
def served() -> Iterator[str]:
    made = Server(*ITSELF)
    yield made.url
    made.end(signal.SIGTERM)


def test_a_served_file_has_the_audit_of_the_file(served: str, tmp_path: Path) -> None:
    told = ["target=http", f"target.url={served}", "target.model=backbone", "target.answers=base64"]
    found = {}
    for name, target in {"file": ITSELF, "service": told}.items():
        (tmp_path / name).mkdir()
        (row,) = audit(tmp_path / "store", *target, *FLIPS, folder=tmp_path / name)
        found[name] = scores_of(tmp_path / name)["score"]
        assert row.null_sent_views == 0
    assert np.ptp(found["file"]) > 0
    np.testing.assert_allclose(found["service"], found["file"], rtol=1e-4, atol=1e-5)

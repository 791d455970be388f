"""`lpla serve` audited by target=http, two processes on loopback: the audit of the file itself."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from test_service_audit import audit
from tiny_audit import scores_of

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "foreign" / "files" / "script.pt"
ITSELF = ["target=exported", f"target.file={SCRIPT}", "target.run_code=true", "target.normalize=half"]
FLIPS = ["crop_scale=[1.0,1.0]", "crop_ratio=[1.0,1.0]", "jitter=0.0", "flip=0.5"]
FLIPS = [f"dataset.query_views.{one}" for one in FLIPS]
"""Views that have 8 bits as they are, so that nothing is rounded where they are sent."""
STARTS = 300


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "lpla", "serve", *ITSELF, "--port", str(port)]
    with (tmp_path / "served.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        end = time.monotonic() + STARTS
        while time.monotonic() < end and process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        assert process.poll() is None, (tmp_path / "served.log").read_text()
        yield f"http://127.0.0.1:{port}/v1/embeddings"
        process.terminate()


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
